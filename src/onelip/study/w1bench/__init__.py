"""The W₁ benchmark: critics trained on pairs whose optimal potential is known, and how close they come."""
