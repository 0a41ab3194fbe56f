"""Arguments and options that several commands share, and what their texts mean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imcsim.util.errors import ImcsimError, did_you_mean

WorkloadArgument = Annotated[str, typer.Argument(metavar="WORKLOAD|MODEL", help="Name, trace, .onnx or .tflite.")]
HardwareOption = Annotated[str, typer.Option("--hardware", "-H", metavar="NAME|FILE", help="Preset or YAML file.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where the directory of the run is made.")]
SchemeOption = Annotated[str, typer.Option(metavar="NAME|FILE.py", help="See `imcsim list schemes`.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change the chip.")]
SchemeOptions = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Set an option.")]
IdealOption = Annotated[str, typer.Option(metavar="all|bus,dram,...", help="Parts nothing waits for.")]
EngineOption = Annotated[str, typer.Option(metavar="fast|simpy", help="Which engine executes the plan.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.")]
UnknownOption = Annotated[
    bool, typer.Option("--allow-unknown", help="Unknown ONNX operators without weights cost nothing.")
]
DataOption = Annotated[str, typer.Option(metavar="PATH", help="Labelled images: then values are computed too.")]
ImagesOption = Annotated[int, typer.Option(help="How many of them.")]
DeviceOption = Annotated[str, typer.Option(metavar="KIND|FILE.py", help="The cells, if not the chip's own.")]
DeviceOptions = Annotated[list[str] | None, typer.Option("--device-option", metavar="NAME=VALUE", help="Set a field.")]
AgeOption = Annotated[str, typer.Option(metavar="SECONDS|1h|1d,...", help="Since programming; or several.")]
CompensationOption = Annotated[str, typer.Option(metavar="none|global|column", help="Of drift.")]
BiasOption = Annotated[int, typer.Option(help="Correct biases by what the chip gets wrong on so many images.")]
RefitOption = Annotated[bool, typer.Option("--refit", help="Fit coefficients to the basis that each chip has.")]
ChipsOption = Annotated[int, typer.Option(help="Chips to draw, from --seed on: mean and spread.")]
CalibrationOption = Annotated[str, typer.Option(metavar="FILE|N", help="Ranges of ADCs: a file, or from N images.")]
NumbersOption = Annotated[str, typer.Option(metavar="X|R,G,B", help="Of pixels from 0 to 1, as the network wants it.")]
WriteTimesOption = Annotated[str, typer.Option(metavar="expected|sampled", help="Expected write times, or drawn ones.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def check_place(out: Path) -> None:
    """Refuse a directory that cannot be written before anything is simulated."""
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        problem = "cannot be written" if place.is_dir() else "is a file, not a directory"
        raise ImcsimError(f"--out {out}", f"{place} {problem}", "choose another place")


def check_file(out: Path) -> None:
    """Refuse a file that cannot be written before anything is computed."""
    if out.is_dir():
        raise ImcsimError(f"--out {out}", "is a directory, not a file", "name a file in it")
    check_place(out.parent)


def pairs(flag: str, texts: list[str] | None) -> dict[str, str]:
    """Return ``key=value`` texts as a mapping."""
    values = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ImcsimError(f"{flag} {text}", "expected a key and a value", f"write {flag} key=value")
        values[key.strip()] = value.strip()
    return values


def fields(flag: str, texts: list[str] | None) -> dict[str, Any]:
    """Return the same, with numbers, true, false and null for the texts that are some."""
    return {key: _value(text) for key, text in pairs(flag, texts).items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def words(text: str) -> tuple[str, ...]:
    """Return what stands between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> tuple[int, ...]:
    """Return the batches of a comparison."""
    try:
        return tuple(int(word) for word in words(text))
    except ValueError:
        raise ImcsimError(f"--batch {text}", "expected whole numbers", "write --batch 1,16,64") from None


def reals(option: str, text: str) -> tuple[float, ...]:
    """Return one number, or several."""
    try:
        return tuple(float(word) for word in words(text))
    except ValueError:
        hint = f"write {option} 0.5, or several: {option} 0.5,0.4,0.3"
        raise ImcsimError(f"{option} {text}", "expected numbers", hint) from None


def text_of(values: tuple[float, ...]) -> str:
    """Return how numbers are written on the command line."""
    return ",".join(f"{value:g}" for value in values)


def real(option: str, text: str) -> float:
    """Return one number."""
    try:
        return float(text)
    except ValueError:
        raise ImcsimError(f"{option} {text}", "expected a number", f"write {option} 0.5") from None


def seconds(text: str) -> float:
    """Return an age in seconds from a text such as 20, 5min, 1h, 1d or 1y."""
    units = {"min": 60.0, "h": 3600.0, "d": 86_400.0, "y": 365 * 86_400.0, "s": 1.0}
    unit = next((unit for unit in units if text.endswith(unit)), "")
    try:
        return float(text.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        raise ImcsimError(f"--age {text}", "expected a time", "write --age 20 (seconds), 5min, 1h, 1d or 1y") from None


def ages(text: str) -> tuple[float, ...] | Literal["earliest"]:
    """Return one age or several, by commas, or the earliest at which the device's model holds."""
    return "earliest" if text == "earliest" else tuple(seconds(word) for word in words(text))


def sampled(text: str) -> bool:
    """Return whether write times are drawn."""
    if text not in ("expected", "sampled"):
        raise ImcsimError(f"--write-times {text}", "there is no such kind", did_you_mean(text, ("expected", "sampled")))
    return text == "sampled"
