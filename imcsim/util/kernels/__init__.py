"""Compiled random numbers that kernels of several wings draw."""
