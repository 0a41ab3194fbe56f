"""Hold the version of this package, which every report and trained file names."""

VERSION = "0.1.0"
