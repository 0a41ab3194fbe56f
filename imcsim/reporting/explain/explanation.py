"""A chip or a device explained: tables under headings, which print and can be computed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.devices import DEVICES, DeviceSpec, load_device
from imcsim.hardware.hardware import Hardware
from imcsim.hardware.preset import AnyHardware, Preset, loaded
from imcsim.reporting.explain.device import device_tables
from imcsim.reporting.explain.hardware import hardware_tables
from imcsim.reporting.format import frame_table
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.presets import YAML_SUFFIXES, known_files

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

WIDTH = 160  # of the tables as text


@dataclass(frozen=True)
class Explanation:
    """Numbers with their sources.

    ``subject``: the chip or the device. ``tables``: DataFrames by heading, in the order in which they are printed;
    ``printed``: those of them that are printed with rounded numbers. ``print(explanation)`` prints all.
    """

    subject: Hardware | DeviceSpec
    tables: Mapping[str, DataFrame]
    printed: Mapping[str, DataFrame] = field(default_factory=dict)

    def show(self, console: Console) -> None:
        """Print all tables, and for a chip what was assumed."""
        chip = self.subject if isinstance(self.subject, Hardware) else None
        if chip:
            console.print(f"[bold]{chip.name}[/bold]: {chip.description}")
        for heading, table in self.tables.items():
            console.print(frame_table(heading, self.printed.get(heading, table)))
        if chip:
            console.print(f"[bold]Assumed, because nobody published them: {len(chip.assumed())}[/bold]")
            for row in chip.assumed():
                console.print(f"  {row}", markup=False, highlight=False, soft_wrap=True)

    def __str__(self) -> str:
        """Return what ``show`` prints, without colours."""
        from rich.console import Console

        console = Console(width=WIDTH, no_color=True)
        with console.capture() as capture:
            self.show(console)
        return capture.get()


def explain(
    subject: AnyHardware | DeviceSpec, *, write: str | None = None, device_options: Mapping[str, Any] | None = None
) -> Explanation:
    """Explain a chip by its sums, prices and sources, or a device by its errors.

    Parameters
    ----------
    subject : str, Path, Preset, Hardware or DeviceSpec
        A preset, a YAML file, a kind of device or a Python file with one. Where a chip and a device have the same name,
        the chip is meant.
    write : str, optional
        A write preset instead of the one of the chip.
    device_options : mapping of str to value, optional
        Fields of the device.

    Returns
    -------
    Explanation
        DataFrames by heading; areas in mm2 or um2, powers in mW or uW, conductances in uS. It prints well.

    Raises
    ------
    ImcsimError
        For a name that means nothing, for a price that is missing, and for options that do not concern the subject.

    Examples
    --------
    >>> explanation = explain("isaac")
    >>> list(explanation.tables)[:3]
    ['Numbers', 'Sums', 'Parts']
    """
    device = _device(subject, device_options or {})
    if device is not None:
        changes = subject if isinstance(subject, Preset) else Preset("")
        options = {"--write": write, "--set": changes.overrides, "--ideal": changes.ideal}
        refuse(device.kind, "is a device, not a chip", options)
        return Explanation(device, *device_tables(device))
    assert not isinstance(subject, DeviceSpec)
    hardware = loaded(subject, write)
    refuse(hardware.name, "is a chip, not a device", {"--device-option": device_options})
    CostTable.of(hardware)  # a missing price is refused before anything is printed
    return Explanation(hardware, *hardware_tables(hardware))


def refuse(name: str, problem: str, options: Mapping[str, object]) -> None:
    """Raise ImcsimError for the first option that was given although it concerns something else."""
    given = next((option for option, value in options.items() if value), None)
    if given:
        raise ImcsimError(name, problem, f"leave out {given}")


def _device(subject: AnyHardware | DeviceSpec, options: Mapping[str, Any]) -> DeviceSpec | None:
    """Return the device that is meant, if one is."""
    if isinstance(subject, DeviceSpec | Hardware):
        return subject if isinstance(subject, DeviceSpec) else None
    name = str(subject.name if isinstance(subject, Preset) else subject)
    return load_device(name, **options) if is_device(name) else None


def is_device(name: str) -> bool:
    """Return whether a name means a device; raises ImcsimError for one that means nothing."""
    chips, devices = known_files("hwconfigs"), DEVICES.origins
    if name.endswith(".py"):
        return True
    if name in chips or Path(name).is_file() or name.endswith(YAML_SUFFIXES) or "/" in name:
        return False
    if name not in devices:
        raise ImcsimError(name, "there is no such hardware and no such device", did_you_mean(name, [*chips, *devices]))
    return True
