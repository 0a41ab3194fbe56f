"""Presets: chips in ``hwconfigs``, write circuits in ``hwconfigs/write``, traces (none here) in ``workloads``."""
