"""Options that several commands share, each group declared once, and handed to a command as one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console
from imcsim.functional.trial import Trial
from imcsim.util.errors import ImcsimError

if TYPE_CHECKING:
    from rich.console import Console

    from imcsim.hardware.preset import Preset
    from imcsim.workload.workload import Workload

NO_CALIBRATION = "none"
MEAN, STD = opt.text_of(Trial.mean), opt.text_of(Trial.std)


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the fields of its groups (parameters that are dataclasses) as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _parameters_of(groups[parameter.name])
        else:
            kind, annotation = Parameter.KEYWORD_ONLY, hints[parameter.name]
            parameters.append(parameter.replace(kind=kind, annotation=annotation))

    @wraps(command)
    def expanded(**given: Any) -> None:
        built = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**given, **built)

    expanded.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # which typer reads
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _parameters_of(group: Any) -> list[Parameter]:
    """Return the fields of a group as parameters of a command."""
    hints = get_type_hints(group, include_extras=True)
    empty = Parameter.empty
    return [
        Parameter(
            f.name,
            Parameter.KEYWORD_ONLY,
            annotation=hints[f.name],
            default=empty if f.default is MISSING else f.default,
        )
        for f in fields(group)
    ]


@dataclass(frozen=True)
class ChipOptions:
    """Which chip, and what is changed about it."""

    hardware: opt.HardwareOption
    set_: opt.SetOption = None
    ideal: opt.IdealOption = ""

    def preset(self) -> Preset:
        """Return the chip as it is to be loaded; raises ImcsimError for a change without a value."""
        from imcsim.hardware.preset import Preset

        return Preset(self.hardware, opt.pairs("--set", self.set_), opt.words(self.ideal))


@dataclass(frozen=True)
class RunOptions:
    """How a workload is run, and where the results go."""

    engine: opt.EngineOption = "fast"
    seed: opt.SeedOption = 0
    allow_unknown: opt.UnknownOption = False
    out: opt.OutOption = Path("imcsim-runs")
    json_: opt.JsonOption = False

    def load(self, workload: str) -> Workload:
        """Return a network; raises ImcsimError where it cannot be read."""
        from imcsim.workload.importers import load_network

        return load_network(workload, allow_unknown=self.allow_unknown)

    def show(self, file: Path, print_tables: Callable[[Console], None]) -> None:
        """Print the JSON file of a result or its tables, as asked for, and say where its directory lies."""
        if self.json_:
            typer.echo(file.read_text(encoding="utf-8"), nl=False)
        else:
            print_tables(console())
        typer.echo(f"written to {file.parent}", err=True)


@dataclass(frozen=True)
class SampleOptions:
    """Images, and what the network expects their pixels to be shifted and divided by."""

    data: Annotated[str, typer.Option(metavar="PATH", help="Images to calibrate with, as the network sees them.")]
    images: opt.ImagesOption = Trial.images
    mean: opt.NumbersOption = MEAN
    std: opt.NumbersOption = STD

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation; raises ImcsimError for what is no number."""
        return opt.reals("--mean", self.mean), opt.reals("--std", self.std)


@dataclass(frozen=True)
class ValuesOptions(SampleOptions):
    """Images to run through the network, and the cells that hold its weights; the defaults are those of a ``Trial``."""

    data: opt.DataOption = ""
    device: opt.DeviceOption = Trial.device
    device_option: opt.DeviceOptions = None
    age: opt.AgeOption = str(Trial.ages_s)
    compensation: opt.CompensationOption = Trial.compensation
    bias_images: opt.BiasOption = Trial.bias_images
    refit: opt.RefitOption = Trial.refit
    seeds: opt.ChipsOption = Trial.chips
    calibration: opt.CalibrationOption = NO_CALIBRATION

    def trial(self, model: str, out: Path) -> Trial | None:
        """Return the trial of a model, to be resumed from ``out``; None where no images are given.

        Raises ImcsimError for options that mean nothing without images, and for texts that cannot be read.
        """
        if not self.data:
            self._refuse_without_images()
            return None
        mean, std = self.scale
        return Trial(
            model=model,
            data=self.data,
            images=self.images,
            mean=mean,
            std=std,
            device=self.device,
            device_options=opt.fields("--device-option", self.device_option),
            ages_s=opt.ages(self.age),
            compensation=cast(Any, self.compensation),
            chips=self.seeds,
            **self._calibration(),
            bias_images=self.bias_images,
            refit=self.refit,
            journal=out / "unfinished",
        )

    def _refuse_without_images(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if value != option.default:
                where, hint = f"--{option.name.replace('_', '-')} {value}", "add --data PATH, or leave it out"
                raise ImcsimError(where, "concerns values, and there are no images", hint)

    def _calibration(self) -> dict[str, Any]:
        """Return how converters are calibrated: by a file, by so many images, or not at all."""
        if self.calibration.isdecimal():
            return {"calibration_images": int(self.calibration)}
        return {"calibration_file": None if self.calibration == NO_CALIBRATION else Path(self.calibration)}


@dataclass(frozen=True)
class ComparedValuesOptions(ValuesOptions):
    """The same for several schemes, each of which is calibrated by itself."""

    calibration: Annotated[str, typer.Option(metavar="N", help="Ranges of ADCs, from N images.")] = NO_CALIBRATION
