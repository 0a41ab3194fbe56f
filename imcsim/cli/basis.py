"""Commands on bases that layers are combined from: ``basis fit`` and ``basis train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console

if TYPE_CHECKING:
    from imcsim.training.basis.testing import Tested

app = typer.Typer(help="Bases that layers are combined from.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def basis() -> None:
    """Bases that layers are combined from."""


@app.command()
def fit(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A quantised .onnx or .tflite model.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="BASIS.safetensors", help="The basis to write.")],
    vectors: Annotated[int, typer.Option(help="M, basis vectors.")] = 128,
    length: Annotated[int, typer.Option(help="L, elements of each: at most the rows of a crossbar.")] = 128,
    nonzeros: Annotated[int, typer.Option(help="q, coefficients of a kernel segment.")] = 8,
    coeff_bits: Annotated[int, typer.Option(help="Bits of a coefficient's magnitude.")] = 4,
    basis_bits: Annotated[int, typer.Option(help="Bits of an element, sign included.")] = 8,
    coefficients: Annotated[
        str, typer.Option("--coefficients", "--levels", metavar="uniform|power-of-two", help="Their magnitudes.")
    ] = "uniform",
    init: Annotated[str, typer.Option(metavar="svd|ksvd|hadamard|random", help="Where the basis begins.")] = "ksvd",
    rounds: Annotated[int, typer.Option(help="Most alternations of coefficients and basis.")] = 20,
    resident: Annotated[
        str, typer.Option(metavar="first,last,NAME,...", help="Layers that keep weights of their own.")
    ] = "",
    seed: opt.SeedOption = 0,
    residual: Annotated[
        float, typer.Option(metavar="SHARE", help="Weights, those missed most, that get a correction.")
    ] = 0.0,
    residual_layers: Annotated[
        str, typer.Option(metavar="first,last,NAME,...", help="Layers that get them; without any, all combined ones.")
    ] = "",
) -> None:
    """Fit a global basis with quantised coefficients to the weights of a quantised network."""
    import imcsim
    from imcsim.reporting.terminal.basis import view
    from imcsim.util import progress

    opt.check_file(out)
    options = imcsim.FitOptions(
        vectors=vectors, length=length, nonzeros=nonzeros, coeff_bits=coeff_bits, basis_bits=basis_bits,
        coefficients=coefficients, init=init, rounds=rounds, resident=opt.words(resident), seed=seed,
        residual=residual, residual_layers=opt.words(residual_layers),
    )  # fmt: skip
    with progress.bar(str(model)) as show:
        fitted = imcsim.fit_basis(model, options, show)
    fitted.write(out)
    console().print(view(fitted))
    typer.echo(f"written to {out}", err=True)


@app.command()
def train(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The quantised .onnx model of the basis.")],
    basis: Annotated[Path, typer.Argument(metavar="BASIS.safetensors", help="A basis of `imcsim basis fit`.")],
    data: Annotated[str, typer.Option(metavar="PATH", help="Labelled images to train on.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="TRAINED.safetensors", help="The basis to write.")],
    test: Annotated[str, typer.Option(metavar="PATH", help="Other labelled images, used once, at the end.")] = "",
    epochs: Annotated[int, typer.Option(help="How often every image is seen.")] = 8,
    batch: Annotated[int, typer.Option(help="Images of a step.")] = 128,
    rate: Annotated[float, typer.Option(help="Of learning, relative to the size of what is trained.")] = 3e-3,
    noise: Annotated[float, typer.Option(help="Standard deviation of basis elements, of the largest.")] = 0.0,
    contest: Annotated[float, typer.Option(help="Weight of the overlap of kernels that share a time slot.")] = 0.0,
    lines: Annotated[int, typer.Option(help="G, output lines of a slot.")] = 16,
    distil: Annotated[float, typer.Option(help="Weight of the scores of the given model against labels.")] = 0.5,
    validation: Annotated[float, typer.Option(help="Share of the images that choose the best epoch.")] = 0.1,
    augment: Annotated[str, typer.Option(metavar="flip,shift", help="Changes of the images, by chance.")] = "",
    mean: opt.NumbersOption = "0",
    std: opt.NumbersOption = "1",
    threads: Annotated[int, typer.Option(help="Of the processor; the result depends on their number.")] = 1,
    seed: opt.SeedOption = 0,
) -> None:
    """Train a basis and its coefficients against the task (needs PyTorch: the extra `train`)."""
    import imcsim
    from imcsim.training.basis.options import BasisTrainOptions
    from imcsim.util import progress

    opt.check_file(out)
    options = BasisTrainOptions(
        epochs=epochs, batch=batch, rate=rate, noise_frac=noise, contest=contest, lines=lines, distil=distil,
        validation=validation, augment=opt.words(augment), mean=opt.reals("--mean", mean),
        std=opt.reals("--std", std), threads=threads, seed=seed,
    )  # fmt: skip
    with progress.bar(str(basis)) as show:
        trained = imcsim.train_basis(model, basis, data, options, test_data=test or None, out=out, progress=show)
    for number, epoch in enumerate(trained.basis.made_on["training"]["epochs"], 1):
        accuracy = 100 * epoch["accuracy_frac"]
        typer.echo(f"epoch {number:<4} loss {epoch['loss']:.4f}   {accuracy:.2f} % of the validation images")
    if trained.tested:
        typer.echo(_said(trained.tested))
    typer.echo(f"written to {out}", err=True)


def _said(tested: Tested) -> str:
    shares = {"8-bit network": tested.network_frac, "basis before": tested.before_frac, "after": tested.after_frac}
    return f"{tested.name}, {tested.n_images:,} images: " + ", ".join(f"{n} {100 * f:.2f} %" for n, f in shares.items())
