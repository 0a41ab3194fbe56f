"""Hold the compiled loops of the training on cells, and their plain twin."""
