"""Commands on bases that layers are combined from: ``basis fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._console import console

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
) -> None:
    """Fit a global basis with quantised coefficients to the weights of a quantised network."""
    from imcsim import progress
    from imcsim.basis.fit import FitOptions, fit_file
    from imcsim.basis.fitted import save_fitted
    from imcsim.basis.summary import view

    opt.check_place(out.parent)
    options = FitOptions(
        vectors, length, nonzeros, coeff_bits, basis_bits, coefficients, init, rounds, opt.words(resident), seed
    )
    with progress.bar(str(model)) as show:
        found = fit_file(model, options, show)
    save_fitted(found, out)
    console().print(view(found))
    typer.echo(f"written to {out}", err=True)
