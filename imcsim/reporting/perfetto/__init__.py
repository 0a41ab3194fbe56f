"""Runs as traces that a browser can show."""
