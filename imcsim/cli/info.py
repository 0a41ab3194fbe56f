"""Commands that show what there is: ``explain``, ``list`` and ``version``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console
from imcsim.reporting.explain.listing import LISTS
from imcsim.util.errors import ImcsimError, did_you_mean

if TYPE_CHECKING:
    from imcsim.reporting.explain.explanation import Explanation


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
    import imcsim
    from imcsim.hardware.preset import Preset
    from imcsim.reporting.explain.explanation import is_device, refuse

    if out is not None:
        if not is_device(name):
            refuse(name, "is a chip, not a device", {"--device-option": device_option, "--out": out})
        opt.check_place(out)
    explanation = imcsim.explain(
        Preset(name, opt.pairs("--set", set_), opt.words(ideal)),
        write=write,
        device_options=opt.fields("--device-option", device_option),
    )
    explanation.show(console())
    if out is not None:
        _draw(explanation, out)


def _draw(explanation: Explanation, out: Path) -> None:
    """Draw the device that was explained."""
    from imcsim.hardware.devices import DeviceSpec
    from imcsim.reporting.figures.device import draw_device

    assert isinstance(explanation.subject, DeviceSpec)
    typer.echo(f"written to {' and '.join(map(str, draw_device(explanation.subject, out)))}", err=True)


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
