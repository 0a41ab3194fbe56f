"""Search for sparse coefficients and colourings of routed columns, as compiled code."""
