"""Hold what knows nothing of accelerators: errors, units, files, random streams, compiled code."""
