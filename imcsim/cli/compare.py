"""``imcsim compare``: many schemes and batches on one chip."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console
from imcsim.util.errors import ImcsimError


def compare(
    workload: opt.WorkloadArgument,
    hardware: opt.HardwareOption,
    write: Annotated[list[str] | None, typer.Option(metavar="PRESET", help="Write preset; repeatable.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,N,...", help="Sizes; else 1,16,64,256, with --data 1.")] = "",
    schemes: Annotated[str, typer.Option(metavar="NAME,NAME,...", help="Instead of all schemes.")] = "",
    set_: opt.SetOption = None,
    ideal: opt.IdealOption = "",
    engine: opt.EngineOption = "fast",
    out: opt.OutOption = Path("imcsim-runs"),
    seed: opt.SeedOption = 0,
    allow_unknown: opt.UnknownOption = False,
    jobs: Annotated[int, typer.Option(help="Runs at the same time.")] = min(2, os.cpu_count() or 1),
    data: opt.DataOption = "",
    images: opt.ImagesOption = 100,
    mean: opt.NumbersOption = "0",
    std: opt.NumbersOption = "1",
    device: opt.DeviceOption = "chip",
    device_option: opt.DeviceOptions = None,
    age: opt.AgeOption = "earliest",
    compensation: opt.CompensationOption = "none",
    bias_images: opt.BiasOption = 0,
    refit: opt.RefitOption = False,
    chips: opt.ChipsOption = 1,
    calibration: Annotated[str, typer.Option(metavar="N", help="Ranges of ADCs, from N images.")] = "none",
    basis: Annotated[str, typer.Option(metavar="FILE", help="Of `imcsim basis fit`.")] = "synthetic",
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the directory of every run too.")] = False,
    json_: opt.JsonOption = False,
) -> None:
    """Compare schemes against reprogramming."""
    from imcsim.experiments.compare import compare as contrast
    from imcsim.util import progress

    opt.check_place(out)
    if calibration != "none" and not calibration.isdecimal():
        hint = "give a number of images, by which each is calibrated"
        raise ImcsimError(f"--calibration {calibration}", "a file is of one scheme, here are several", hint)
    trial = None
    if not data:
        given = {
            "device": device, "device-option": device_option, "images": images, "mean": mean, "std": std, "age": age,
            "compensation": compensation, "seeds": chips, "calibration": calibration, "bias-images": bias_images,
            "refit": refit,
        }  # fmt: skip
        opt.need_data(given)
    else:
        trial = opt.trial(
            workload, data, images, mean, std, device, device_option, age, compensation, chips, calibration,
            bias_images, refit, out,
        )  # fmt: skip
    sizes = opt.numbers(batch or ("1" if data else "1,16,64,256"))
    with progress.bar(workload) as show:
        comparison = contrast(
            workload, hardware, writes=tuple(write or ()), batches=sizes,
            schemes=opt.words(schemes), overrides=opt.pairs("--set", set_), ideal=opt.words(ideal),
            engine=engine, seed=seed, processes=jobs, keep_runs=out if keep_runs else None, allow_unknown=allow_unknown,
            trial=trial, basis=basis, progress=show,
        )  # fmt: skip
        folder = comparison.write(out)
    if json_:
        typer.echo((folder / "compare.json").read_text(encoding="utf-8"), nl=False)
    else:
        from imcsim.reporting.terminal.comparison import print_comparison

        print_comparison(comparison, console())
        for sentence in comparison.waits:
            typer.echo(sentence)
    typer.echo(f"written to {folder}", err=True)
