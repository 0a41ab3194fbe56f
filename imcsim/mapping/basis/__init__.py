"""A global basis with quantised sparse coefficients: its file (``fitted``), and its fit to a network (``fit``)."""
