"""Hardware files and devices, explained in numbers with their sources."""
