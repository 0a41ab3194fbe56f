"""``imcsim run``: one workload on one chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console


def run(
    workload: opt.WorkloadArgument,
    hardware: opt.HardwareOption,
    scheme: Annotated[str, typer.Option(metavar="NAME|FILE.py", help="See `imcsim list schemes`.")] = "reprogram",
    write: Annotated[str | None, typer.Option(metavar="PRESET", help="See `imcsim list writes`.")] = None,
    batch: Annotated[int, typer.Option(help="Images of one batch.")] = 1,
    set_: opt.SetOption = None,
    option: opt.SchemeOptions = None,
    ideal: opt.IdealOption = "",
    engine: opt.EngineOption = "fast",
    out: opt.OutOption = Path("imcsim-runs"),
    seed: opt.SeedOption = 0,
    allow_unknown: opt.UnknownOption = False,
    write_times: opt.WriteTimesOption = "expected",
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
    calibration: opt.CalibrationOption = "none",
    json_: opt.JsonOption = False,
) -> None:
    """Simulate one workload on one chip under one scheme."""
    from imcsim.experiments.run import run as simulate
    from imcsim.util import progress

    opt.check_place(out)
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
    with progress.bar(workload) as show:
        report = simulate(
            workload, hardware, scheme, write=write, batch=batch, overrides=opt.pairs("--set", set_),
            options=opt.fields("--option", option), ideal=opt.words(ideal),
            engine=engine, seed=seed, sampled_writes=opt.sampled(write_times), allow_unknown=allow_unknown, trial=trial,
            progress=show,
        )  # fmt: skip
        folder = report.write(out)
    if json_:
        typer.echo((folder / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        from imcsim.reporting.terminal.run import print_report

        print_report(report, console())
    typer.echo(f"written to {folder}", err=True)
