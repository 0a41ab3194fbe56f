"""Say what a run is asked for: everything that decides its result, as one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.schemes import SCHEMES
from imcsim.util.python_files import is_file
from imcsim.workload.workload import Workload

if TYPE_CHECKING:
    from imcsim.functional.trial import Trial


@dataclass(frozen=True)
class RunSpec:
    """Hold everything that decides the result of a run."""

    workload: Workload
    hardware: Hardware
    scheme: str = "reprogram"
    batch: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "fast"
    seed: int = 0
    sampled_writes: bool = False
    trial: Trial | None = None  # images to compute values for

    @property
    def scheme_key(self) -> str:
        """The name of the scheme, with a hash of its file where it is given by a path: the same wherever that lies."""
        return SCHEMES.key(SCHEMES.find(self.scheme)) if is_file(self.scheme) else self.scheme
