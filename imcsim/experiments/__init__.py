"""What can be asked of the simulator: a run, a comparison, crossovers, lifetimes, the calibration of converters."""
