"""Run the event loop as compiled code."""
