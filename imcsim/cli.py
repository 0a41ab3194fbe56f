"""The command line. Everything heavy is imported inside the commands, so that help answers at once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imcsim.errors import ImcsimError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="imcsim",
    help="A cycle-level simulator of analog crossbar accelerators.",
    epilog="Example: imcsim run resnet50 --hardware rram-256 --write ember2b_word --batch 16",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
BAD_INPUT = 2
INTERRUPTED = 130

WorkloadArgument = Annotated[str, typer.Argument(metavar="WORKLOAD|MODEL.onnx", help="Shipped name, trace or model.")]
HardwareOption = Annotated[str, typer.Option("--hardware", "-H", metavar="NAME|FILE", help="Preset or YAML file.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where the directory of the run is made.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change the chip.")]
SchemeOptions = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Set an option.")]
IdealOption = Annotated[str, typer.Option(metavar="all|bus,dram,...", help="Parts nothing waits for.")]
EngineOption = Annotated[str, typer.Option(metavar="fast|simpy", help="Which engine executes the plan.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.")]
UnknownOption = Annotated[bool, typer.Option("--allow-unknown", help="Unknown ONNX operators cost nothing.")]
DataOption = Annotated[str, typer.Option(metavar="PATH", help="Labelled images: then values are computed too.")]
ImagesOption = Annotated[int, typer.Option(help="How many of them.")]
DeviceOption = Annotated[str, typer.Option(metavar="KIND|FILE.py", help="The cells; see `imcsim list devices`.")]
DeviceOptions = Annotated[list[str] | None, typer.Option("--device-option", metavar="NAME=VALUE", help="Set a field.")]
AgeOption = Annotated[str, typer.Option(metavar="SECONDS|1h|1d|1y", help="Since programming.")]
CompensationOption = Annotated[str, typer.Option(metavar="none|global", help="Of drift.")]
NumbersOption = Annotated[str, typer.Option(metavar="X|R,G,B", help="Of pixels from 0 to 1, as the network wants it.")]
WriteTimesOption = Annotated[str, typer.Option(metavar="expected|sampled", help="Expected write times, or drawn ones.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


@app.command()
def run(
    workload: WorkloadArgument,
    hardware: HardwareOption,
    scheme: Annotated[str, typer.Option(metavar="NAME|FILE.py", help="See `imcsim list schemes`.")] = "reprogram",
    write: Annotated[str | None, typer.Option(metavar="PRESET", help="See `imcsim list writes`.")] = None,
    batch: Annotated[int, typer.Option(help="Images of one batch.")] = 1,
    set_: SetOption = None,
    option: SchemeOptions = None,
    ideal: IdealOption = "",
    engine: EngineOption = "fast",
    out: OutOption = Path("imcsim-runs"),
    seed: SeedOption = 0,
    allow_unknown: UnknownOption = False,
    write_times: WriteTimesOption = "expected",
    data: DataOption = "",
    images: ImagesOption = 100,
    mean: NumbersOption = "0",
    std: NumbersOption = "1",
    device: DeviceOption = "ideal",
    device_option: DeviceOptions = None,
    age: AgeOption = "0",
    compensation: CompensationOption = "none",
    json_: JsonOption = False,
) -> None:
    """Simulate one workload on one chip under one scheme."""
    from imcsim import progress
    from imcsim.run import run as simulate

    _check_place(out)
    trial = None
    if data:
        from imcsim.values import Trial

        fields = {key: _value(text) for key, text in _pairs("--device-option", device_option).items()}
        trial = Trial(
            workload, data, images, _reals("--mean", mean), _reals("--std", std), device, fields, _seconds(age),
            compensation,
        )  # fmt: skip
    with progress.bar(workload) as show:
        report = simulate(
            workload, hardware, scheme, write=write, batch=batch, overrides=_pairs("--set", set_),
            options={key: _value(text) for key, text in _pairs("--option", option).items()}, ideal=_words(ideal),
            engine=engine, seed=seed, sampled_writes=_sampled(write_times), allow_unknown=allow_unknown, trial=trial,
            progress=show,
        )  # fmt: skip
        folder = report.write(out)
    if json_:
        typer.echo((folder / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        from imcsim import tables

        tables.print_report(report, _console())
    typer.echo(f"written to {folder}", err=True)


@app.command()
def compare(
    workload: WorkloadArgument,
    hardware: HardwareOption,
    write: Annotated[list[str] | None, typer.Option(metavar="PRESET", help="Write preset; repeatable.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,N,...", help="Batch sizes.")] = "1,16,64,256",
    schemes: Annotated[str, typer.Option(metavar="NAME,NAME,...", help="Instead of all schemes.")] = "",
    set_: SetOption = None,
    ideal: IdealOption = "",
    engine: EngineOption = "fast",
    out: OutOption = Path("imcsim-runs"),
    seed: SeedOption = 0,
    allow_unknown: UnknownOption = False,
    jobs: Annotated[int, typer.Option(help="Runs at the same time.")] = min(2, os.cpu_count() or 1),
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the directory of every run too.")] = False,
    json_: JsonOption = False,
) -> None:
    """Compare schemes against reprogramming."""
    from imcsim import progress
    from imcsim.compare import VARIANTS
    from imcsim.compare import compare as contrast

    _check_place(out)
    with progress.bar(workload) as show:
        comparison = contrast(
            workload, hardware, writes=tuple(write or ()), batches=_numbers(batch),
            schemes=_words(schemes) or tuple(VARIANTS), overrides=_pairs("--set", set_), ideal=_words(ideal),
            engine=engine, seed=seed, processes=jobs, keep_runs=out if keep_runs else None, allow_unknown=allow_unknown,
            progress=show,
        )  # fmt: skip
        folder = comparison.write(out)
    if json_:
        typer.echo((folder / "compare.json").read_text(encoding="utf-8"), nl=False)
    else:
        from imcsim import tables

        tables.print_comparison(comparison, _console())
        for sentence in comparison.waits:
            typer.echo(sentence)
    typer.echo(f"written to {folder}", err=True)


@app.command()
def explain(
    hardware: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Hardware preset or YAML file.")],
    write: Annotated[str | None, typer.Option(metavar="PRESET", help="See `imcsim list writes`.")] = None,
    set_: SetOption = None,
    ideal: IdealOption = "",
) -> None:
    """Print a chip with its sums, prices and sources."""
    from imcsim.costs import CostTable
    from imcsim.explain import explain as describe
    from imcsim.hardware import load_hardware

    chip = load_hardware(hardware, _pairs("--set", set_), write, _words(ideal))
    CostTable.of(chip)  # a missing price is refused before anything is printed
    describe(chip, _console())


@app.command()
def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model to import.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The trace to write (JSON).")],
    allow_unknown: UnknownOption = False,
) -> None:
    """Make a workload file from an ONNX model."""
    from imcsim.importers.onnx import import_onnx
    from imcsim.workload import save_workload

    workload = import_onnx(model, allow_unknown=allow_unknown)
    save_workload(workload, output)
    typer.echo(f"{len(workload.layers)} layers, {workload.n_weights:,} weights written to {output}", err=True)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="workloads|hardware|writes|schemes|devices", help="What to list.")],
    json_: JsonOption = False,
) -> None:
    """List what is shipped."""
    from imcsim.listing import LISTS, print_rows

    if what not in LISTS:
        raise ImcsimError(f"list {what}", "there is no such list", did_you_mean(what, LISTS))
    rows = LISTS[what]()
    if json_:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_rows(rows, _console())


@app.command()
def version() -> None:
    """Print the version."""
    from imcsim import __version__

    typer.echo(__version__)


FILE_COLUMNS = 120  # width of tables where standard output is no terminal


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else FILE_COLUMNS)


# -- start and end -----------------------------------------------------------------------------------------------------


def main() -> None:
    """The ``imcsim`` command: bad input is one line on standard error and exit code 2."""
    try:
        app(prog_name="imcsim")
    except ImcsimError as error:
        typer.echo(f"imcsim: {' '.join(str(error).split())}", err=True)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        _close_output()


def _close_output() -> None:
    """Flush standard output; a reader that has gone away is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_place(out: Path) -> None:
    """Refuse a directory that cannot be written before anything is simulated."""
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        problem = "cannot be written" if place.is_dir() else "is a file, not a directory"
        raise ImcsimError(f"--out {out}", f"{place} {problem}", "choose another place")


def _pairs(flag: str, texts: list[str] | None) -> dict[str, str]:
    """``key=value`` texts as a mapping."""
    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ImcsimError(f"{flag} {text}", "expected a key and a value", f"write {flag} key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def _value(text: str) -> Any:
    """A number, true, false or null where the text is one, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise ImcsimError(f"--batch {text}", "expected whole numbers", "write --batch 1,16,64") from None


def _reals(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        hint = f"write {option} 0.5, or one for each channel: {option} 0.5,0.4,0.3"
        raise ImcsimError(f"{option} {text}", "expected numbers", hint) from None


def _seconds(text: str) -> float:
    """An age such as 20, 5min, 1h, 1d or 1y."""
    units = {"min": 60.0, "h": 3600.0, "d": 86_400.0, "y": 365 * 86_400.0, "s": 1.0}
    unit = next((unit for unit in units if text.endswith(unit)), "")
    try:
        return float(text.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        raise ImcsimError(f"--age {text}", "expected a time", "write --age 20 (seconds), 5min, 1h, 1d or 1y") from None


def _sampled(text: str) -> bool:
    if text not in ("expected", "sampled"):
        raise ImcsimError(f"--write-times {text}", "there is no such kind", did_you_mean(text, ("expected", "sampled")))
    return text == "sampled"
