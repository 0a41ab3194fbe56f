"""Write everything that decides a run as plain values, for YAML and JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from imcsim.reporting.run_spec import RunSpec
from imcsim.util.config import canonical_hash
from imcsim.util.version import VERSION


def resolved_yaml(run_id: str, spec: RunSpec) -> str:
    """Return everything that decides the run as YAML; the block ``hardware`` is a complete hardware file."""
    import yaml

    content = {
        "imcsim_version": VERSION,
        "run_id": run_id,
        "scheme": spec.scheme,
        "options": dict(spec.options),
        "batch": spec.batch,
        "seed": spec.seed,
        "sampled_writes": spec.sampled_writes,
        "engine": spec.engine,
        "workload": {
            "name": spec.workload.name,
            "source": spec.workload.source,
            "hash": canonical_hash(spec.workload.model_dump(mode="json")),
        },
        "hardware": spec.hardware.model_dump(mode="json", exclude_none=True),
    }
    return str(yaml.safe_dump(as_plain(content), sort_keys=False, allow_unicode=True, width=120))


def as_plain(content: object) -> Any:
    """Return a copy that JSON can hold. Raises ValueError for a number that is none."""
    return json.loads(json.dumps(content, default=_plain, allow_nan=False))


def _plain(value: Any) -> Any:
    """Turn numbers and arrays of numpy, sets and what else JSON does not know into what it knows."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
