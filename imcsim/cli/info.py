"""Commands that show what there is: ``explain``, ``list`` and ``version``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console
from imcsim.reporting.explain.listing import LISTS
from imcsim.util.errors import ImcsimError, did_you_mean


def explain(
    name: Annotated[
        str, typer.Argument(metavar="HARDWARE|DEVICE", help="Preset, YAML file, kind of device or FILE.py with one.")
    ],
    write: Annotated[str | None, typer.Option(metavar="PRESET", help="See `imcsim list writes`.")] = None,
    set_: opt.SetOption = None,
    ideal: opt.IdealOption = "",
    device_option: opt.DeviceOptions = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Draw a device here.")] = None,
) -> None:
    """Print a chip with its sums, prices and sources, or a device with its errors.

    Where a chip and a device have the same name, the chip is meant.
    """
    if _is_device(name):
        _refuse(name, "is a device, not a chip", {"--write": write, "--set": set_, "--ideal": ideal})
        _explain_device(name, opt.fields("--device-option", device_option), out)
    else:
        _refuse(name, "is a chip, not a device", {"--device-option": device_option, "--out": out})
        _explain_chip(name, opt.pairs("--set", set_), write, opt.words(ideal))


def _is_device(name: str) -> bool:
    """Whether a name means a device; a name that means nothing is refused."""
    from imcsim.hardware.devices import DEVICES
    from imcsim.util.presets import YAML_SUFFIXES, known_files

    chips, devices = known_files("hwconfigs"), DEVICES.origins
    if name.endswith(".py"):
        return True
    if name in chips or Path(name).is_file() or name.endswith(YAML_SUFFIXES) or "/" in name:
        return False
    if name not in devices:
        raise ImcsimError(name, "there is no such hardware and no such device", did_you_mean(name, [*chips, *devices]))
    return True


def _refuse(name: str, problem: str, options: Mapping[str, object]) -> None:
    given = next((option for option, value in options.items() if value), None)
    if given:
        raise ImcsimError(name, problem, f"leave out {given}")


def _explain_chip(name: str, changes: dict[str, str], write: str | None, ideal: tuple[str, ...]) -> None:
    from imcsim.hardware.cost_table import CostTable
    from imcsim.hardware.hardware import load_hardware
    from imcsim.reporting.explain.hardware import explain as describe

    chip = load_hardware(name, changes, write, ideal)
    CostTable.of(chip)  # a missing price is refused before anything is printed
    describe(chip, console())


def _explain_device(name: str, fields: dict[str, Any], out: Path | None) -> None:
    from imcsim.hardware.devices import load_device
    from imcsim.reporting.explain.device import explain_device

    device = load_device(name, **fields)
    if out is None:
        explain_device(device, console())
        return
    from imcsim.reporting.figures.device import draw_device

    opt.check_place(out)
    made = draw_device(device, out)
    explain_device(device, console())
    typer.echo(f"written to {' and '.join(map(str, made))}", err=True)


def list_(
    what: Annotated[str, typer.Argument(metavar="|".join(LISTS), help="What to list.")],
    json_: opt.JsonOption = False,
) -> None:
    """List what is shipped and what installed packages bring."""
    from imcsim.reporting.explain.listing import print_rows

    if what not in LISTS:
        raise ImcsimError(f"list {what}", "there is no such list", did_you_mean(what, LISTS))
    rows = LISTS[what]()
    if json_:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_rows(rows, console())


def version() -> None:
    """Print the version."""
    from imcsim.util.version import VERSION

    typer.echo(VERSION)
