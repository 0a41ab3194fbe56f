"""Train on a hybrid of multi-level and binary phase-change cells, in the manner of HIC (arXiv 2102.05271).

Of that paper only the abstract could be read, so what happens here is "HIC-style": our choices, listed in
``options.py`` and shown in every report, and no claim to match its tables.
"""
