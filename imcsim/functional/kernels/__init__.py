"""Hold the compiled analog multiply, its tables, and its plain twin."""
