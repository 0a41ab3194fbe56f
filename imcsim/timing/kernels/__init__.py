"""The compiled event loop and its tables."""
