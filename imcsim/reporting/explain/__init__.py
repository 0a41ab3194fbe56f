"""Explain hardware files and devices in numbers with their sources."""
