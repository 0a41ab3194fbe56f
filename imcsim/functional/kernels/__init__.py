"""The compiled analog multiply, its tables, and its plain twin."""
