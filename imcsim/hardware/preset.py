"""Hardware as a user names it: a preset or a file, with what is changed while it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imcsim.hardware.hardware import Hardware, load_hardware, override
from imcsim.util.errors import ImcsimError


@dataclass(frozen=True)
class Preset:
    """A hardware preset or file with changes, to be loaded with one write preset or another.

    Parameters
    ----------
    name : str or Path
        A shipped preset or a YAML file.
    overrides : mapping of str to value
        Values by dotted key, such as ``{"tile.adc.bits": 6}``.
    ideal : sequence of str
        Parts that nothing waits for: 'bus', 'noc', 'dram', 'digital', 'buffer', 'adc', or 'all'.

    Examples
    --------
    >>> Preset("rram-256", {"tile.adc.bits": 6}).load("radar2b_row").cell.write.name
    'radar2b_row'
    """

    name: str | Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    ideal: Sequence[str] = ()

    def load(self, write: str | None = None) -> Hardware:
        """Return the hardware, with the write preset of that name instead of its own.

        Raises
        ------
        ImcsimError
            As ``load_hardware`` does.
        """
        return load_hardware(str(self.name), dict(self.overrides), write, tuple(self.ideal))


AnyHardware = str | Path | Preset | Hardware
"""What a user may give where hardware is asked for"""


def loaded(hardware: AnyHardware, write: str | None = None, overrides: Mapping[str, Any] | None = None) -> Hardware:
    """Return the hardware that a user means, changed; ImcsimError where a loaded one is to be written otherwise."""
    if isinstance(hardware, Hardware):
        if write:
            hint = "give the preset to load_hardware, or give a name or a Preset here"
            raise ImcsimError(hardware.name, "a write preset changes hardware while it is loaded", hint)
        return override(hardware, overrides or {})
    preset = hardware if isinstance(hardware, Preset) else Preset(hardware)
    return replace(preset, overrides={**preset.overrides, **(overrides or {})}).load(write)
