"""Write runs as traces that a browser can show."""
