"""Read the words of ``imcsim train``: networks on cells that learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console

if TYPE_CHECKING:
    from imcsim.training.study.result import Study


def train(
    network: Annotated[
        str, typer.Option(metavar="NAME|FILE.py[:FUNCTION]", help="mlp, small_cnn, resnet8, resnet32, or your own.")
    ] = "mlp",
    data: Annotated[
        str, typer.Option(metavar="PATH", help="Labelled images: folders of pictures, npz, idx or CIFAR files.")
    ] = "digits",
    test: Annotated[str, typer.Option(metavar="PATH", help="Others for the test; else a fifth is kept apart.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="The directory of the report.")] = Path("imcsim-training"),
    widths: Annotated[str, typer.Option(help="Multiples of all channels.")] = "1",
    seeds: Annotated[int, typer.Option(help="Trainings of each kind and width.")] = 1,
    rate: Annotated[str, typer.Option(help="Of hybrid cells; of several the best one is taken.")] = "1",
    float_rate: Annotated[
        str, typer.Option(help="Of 32-bit floats; several as above, none to leave them out.")
    ] = "0.1",
    epochs: Annotated[int, typer.Option(help="How often every image is seen.")] = 10,
    batch: Annotated[int, typer.Option(help="Images of a step, after which weights are updated once.")] = 100,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of cells: bits, code, read_noise, ... (the report lists them)."),
    ] = None,
    augment: Annotated[str, typer.Option(metavar="flip,shift", help="Changes of the images, by chance.")] = "",
    mean: opt.NumbersOption = "0",
    std: opt.NumbersOption = "1",
    validation: Annotated[float, typer.Option(help="Share of the images that choose rates and show progress.")] = 0.05,
    age: Annotated[str, typer.Option(metavar="1s,1d,1y,...", help="Ages to test at.")] = "1s,1min,1h,1d,30d,1y",
    draws: Annotated[int, typer.Option(help="Chips to draw for each network and model of drift.")] = 1,
    hardware: opt.HardwareOption = "hermes-64",
    set_: opt.SetOption = None,
    batch_s: Annotated[
        str, typer.Option(metavar="SECONDS", help="Simulated time of a step; else what it takes on the hardware.")
    ] = "hardware",
    threads: Annotated[int, typer.Option(help="Of the processor; the result depends on their number.")] = 1,
) -> None:
    """Train a network whose weights are PCM cells, age it, price its steps (needs PyTorch: the extra `train`).

    HIC-style (arXiv 2102.05271): a weight is a pair of multi-level cells, updates gather in 7 binary ones. A report
    compares with 32-bit floats. An interrupted training goes on with its last whole epoch when called again.

    A network of your own: a file with a function network(channels, classes, width) that gives a torch.nn.Module of
    Conv2d, Linear, BatchNorm, ReLU, pooling and additions.

    Example: imcsim train --network my_net.py --data train_images/ --test test_images/ --widths 1,2 --seeds 3
    """
    import imcsim
    from imcsim.util import progress

    opt.check_place(out)
    spec_class = imcsim.StudySpec  # refused here where PyTorch is missing
    from imcsim.training.hic.ageing import AgeingOptions
    from imcsim.training.study.spec import hybrid_options

    options = imcsim.TrainOptions(
        hybrid=hybrid_options(opt.fields("--option", option)), epochs=epochs, batch=batch, validation=validation,
        augment=opt.words(augment), mean=opt.reals("--mean", mean), std=opt.reals("--std", std), threads=threads,
    )  # fmt: skip
    rates = {"hybrid": opt.reals("--rate", rate)}
    if float_rate != "none":
        rates["float"] = opt.reals("--float-rate", float_rate)
    spec = spec_class(
        network=network, data=data, test=test, widths=opt.reals("--widths", widths), seeds=seeds, rates=rates,
        options=options, hardware=hardware, overrides=opt.pairs("--set", set_),
        ageing=AgeingOptions(tuple(opt.seconds(word) for word in opt.words(age)), draws=draws),
        step_s="hardware" if batch_s == "hardware" else opt.real("--batch-s", batch_s),
    )  # fmt: skip
    with progress.bar("train") as show:
        study = imcsim.train(spec, out, show)
    _print(study, out)


def _print(study: Study, out: Path) -> None:
    from imcsim.training.study.view import view

    for text in study.warnings:
        typer.echo(f"warning: {text}", err=True)
    console().print(view(study))
    typer.echo(f"report in {out}", err=True)
