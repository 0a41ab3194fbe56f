"""Commands that make files from models: ``export``, ``quantize`` and ``calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._groups import ChipOptions, SampleOptions, with_groups

if TYPE_CHECKING:
    from imcsim.workload.quantise import QuantisedModel


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The .onnx or .tflite model to import.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The trace to write (JSON).")],
    allow_unknown: opt.UnknownOption = False,
    weights: Annotated[bool, typer.Option("--weights", help="Keep the integers of a quantised model.")] = False,
    data: Annotated[str, typer.Option(metavar="PATH", help="Record what its images make of each layer, too.")] = "",
    images: Annotated[int, typer.Option(help="How many of them.")] = 1,
    mean: opt.NumbersOption = "0",
    std: opt.NumbersOption = "1",
) -> None:
    """Make a workload file from an ONNX or TensorFlow Lite model."""
    from imcsim.workload.export import with_samples, with_weights
    from imcsim.workload.importers import load_network
    from imcsim.workload.workload import save_workload

    if data:
        workload = with_samples(model, data, images, opt.reals("--mean", mean), opt.reals("--std", std))
    elif weights:
        workload = with_weights(model)
    else:
        workload = load_network(model, allow_unknown=allow_unknown)
    save_workload(workload, output)
    typer.echo(f"{len(workload.layers)} layers, {workload.n_weights:,} weights written to {output}", err=True)
    if workload.tensors:
        typer.echo(f"their integers written to {output.with_suffix('.safetensors')}", err=True)


@with_groups
def quantize(
    *,
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A float model.")],
    sample: SampleOptions,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.onnx", help="The int8 model to write.")],
    per_channel: Annotated[bool, typer.Option("--per-channel/--per-tensor", help="Scales of the weights.")] = True,
) -> None:
    """Quantise a float ONNX model to int8, so that `run --data` takes it."""
    import imcsim

    mean, std = sample.scale
    quantised = imcsim.quantise(
        model, sample.data, out, images=sample.images, mean=mean, std=std, per_channel=per_channel
    )
    typer.echo("\n".join(_said(quantised)))
    typer.echo(f"written to {out}", err=True)


@with_groups
def calibrate(
    *,
    model: opt.WorkloadArgument,
    chip: ChipOptions,
    sample: SampleOptions,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The calibration to write (JSON).")],
    scheme: opt.SchemeOption = "reprogram",
    option: opt.SchemeOptions = None,
) -> None:
    """Find the range of the ADCs for each layer, for `run --calibration`."""
    import imcsim
    from imcsim.util import progress

    mean, std = sample.scale
    with progress.bar(model) as show:
        ranges = imcsim.calibrate(
            model, chip.preset(), sample.data, images=sample.images, scheme=scheme,
            options=opt.fields("--option", option), mean=mean, std=std, progress=show,
        )  # fmt: skip
    ranges.write(out)
    for name, limits in ranges.layers.items():
        typer.echo(f"{name:24} {limits.low:,.1f} to {limits.high:,.1f} levels, largest sum seen {limits.seen:,.0f}")
    typer.echo(f"written to {out}", err=True)


def _said(done: QuantisedModel) -> list[str]:
    layers = ", ".join(f"{count} {kind}" for kind, count in done.layers.items())
    accuracy = ", ".join(f"{name} {100 * frac:.1f} %" for name, frac in done.accuracy_frac.items())
    return [
        f"layers quantised  {sum(done.layers.values())} ({layers})",
        f"images            {done.n_images:,}",
        f"size              {done.bytes_before:,} bytes before, {done.bytes_after:,} after",
        f"accuracy          {accuracy or 'unknown: the labels are no classes of the network'}",
        f"same answer       {100 * done.agreement_frac:.1f} % of the images",
    ]
