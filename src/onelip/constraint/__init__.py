"""Keep a module's Lipschitz constant at a target while it trains."""
