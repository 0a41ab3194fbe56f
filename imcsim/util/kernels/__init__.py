"""Draw compiled random numbers for the kernels of several wings."""
