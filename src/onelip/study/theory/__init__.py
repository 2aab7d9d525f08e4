"""The theory as experiments: disjoint supports, duality, the product of norms, power iteration."""
