"""Hold a global basis with quantised sparse coefficients (``fitted``), and fit one to a network (``fit``)."""
