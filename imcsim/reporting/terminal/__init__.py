"""Show reports on the terminal."""
