"""Accelerators as they are declared and priced, and how their parts behave."""
