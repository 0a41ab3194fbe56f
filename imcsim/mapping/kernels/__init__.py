"""Compiled searches: sparse coefficients, colourings of routed columns."""
