"""Where weights lie and what follows what: plans, and the schemes that make them."""
