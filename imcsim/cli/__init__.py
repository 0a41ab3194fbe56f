"""The command line. Everything heavy is imported inside the commands, so that help answers at once."""

from __future__ import annotations

import os
import sys

import typer

from imcsim.cli import basis, compare, info, models, run, train, train_step
from imcsim.util.errors import ImcsimError

BAD_INPUT = 2

app = typer.Typer(
    name="imcsim",
    help="A cycle-level simulator of analog crossbar accelerators.",
    epilog="Example: imcsim run resnet50 --hardware rram-256 --write ember2b_word --batch 16",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run.run)
app.command()(compare.compare)
app.command()(train_step.train_step)
app.command()(info.explain)
app.command()(train.train)
app.command()(models.export)
app.command()(models.quantize)
app.command()(models.calibrate)
app.add_typer(basis.app, name="basis")
app.command("list")(info.list_)
app.command()(info.version)


def main() -> None:
    """The ``imcsim`` command: bad input is one line on standard error and exit code 2."""
    try:
        app(prog_name="imcsim")
    except ImcsimError as error:
        typer.echo(f"imcsim: {' '.join(str(error).split())}", err=True)
        sys.exit(BAD_INPUT)
    finally:
        _close_output()


def _close_output() -> None:
    """Flush standard output; a reader that has gone away is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
