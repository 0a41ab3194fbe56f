"""Read the words of ``imcsim train-step``: one step of training on one chip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console
from imcsim.cli._groups import ChipOptions, with_groups

if TYPE_CHECKING:
    from imcsim.training.step.step import Rates


@with_groups
def train_step(
    workload: opt.WorkloadArgument,
    chip: ChipOptions,
    batch: Annotated[int, typer.Option(help="Images of one step.")] = 100,
    update: Annotated[str, typer.Option(metavar="batch|sample", help="When weights change.")] = "batch",
    accumulator: Annotated[
        str, typer.Option(metavar="pcm|sram|dram", help="Where gradients add up: 7 binary PCM cells, or 32 bits.")
    ] = "pcm",
    accumulator_bits: Annotated[int, typer.Option(help="Binary cells of a weight, with pcm.")] = 7,
    outer: Annotated[str, typer.Option(metavar="digital|pulses", help="How inputs meet errors.")] = "digital",
    pulse_length: Annotated[int, typer.Option(help="Slots of a pulse train, with pulses.")] = 16,
    transpose_adc: Annotated[
        str, typer.Option(metavar="bank|shared", help="Converters of the rows: their own, or those of the columns.")
    ] = "bank",
    refresh_every: Annotated[int, typer.Option(help="Batches between two checks of the pairs.")] = 10,
    epoch_images: Annotated[int, typer.Option(help="Images of one epoch.")] = 50_000,
    rates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measured changes per update, by layer; else assumed ones.")
    ] = None,
    circuit: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="What updates take: pcm_binary, pcm_driven or a YAML file.")
    ] = "pcm_binary",
    engine: opt.EngineOption = "fast",
    json_: opt.JsonOption = False,
) -> None:
    """Time and energy of one step of training: forward, backward, outer products, updates.

    All weights are resident. The transposed products read the same crossbars as the forward ones.

    Example: imcsim train-step resnet20_cifar --hardware hermes-64 --batch 100 --update sample
    """
    import imcsim
    from imcsim.mapping.update_rates import load_rates
    from imcsim.util import progress
    from imcsim.util.config import build

    given = {
        "batch": batch, "update": update, "accumulator": accumulator, "accumulator_bits": accumulator_bits,
        "outer": outer, "pulse_length": pulse_length, "transpose_adc": transpose_adc, "refresh_every": refresh_every,
        "epoch_images": epoch_images, "circuit": circuit,
    }  # fmt: skip
    options = build(imcsim.StepOptions, given, "train-step")
    known: Rates | Literal["assumed"] = load_rates(rates) if rates else "assumed"
    with progress.bar(workload) as show:
        report = imcsim.train_step(workload, chip.preset(), options, known, engine=engine, progress=show)
    if json_:
        typer.echo(json.dumps(report.summary, indent=2))
    else:
        from imcsim.training.step.view import print_step

        print_step(report, console())
