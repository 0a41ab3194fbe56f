"""Read the words of ``imcsim compare``: many schemes and batches on one chip."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._groups import ChipOptions, ComparedValuesOptions, RunOptions, with_groups

if TYPE_CHECKING:
    from rich.console import Console

    from imcsim.reporting.comparison import Comparison


@with_groups
def compare(
    *,
    workload: opt.WorkloadArgument,
    chip: ChipOptions,
    write: Annotated[list[str] | None, typer.Option(metavar="PRESET", help="Write preset; repeatable.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,N,...", help="Sizes; else 1,16,64,256, with --data 1.")] = "",
    schemes: Annotated[str, typer.Option(metavar="NAME,NAME,...", help="Instead of all schemes.")] = "",
    basis: Annotated[str, typer.Option(metavar="FILE", help="Of `imcsim basis fit`.")] = "synthetic",
    jobs: Annotated[int, typer.Option(help="Runs at the same time.")] = min(2, os.cpu_count() or 1),
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep the directory of every run too.")] = False,
    values: ComparedValuesOptions,
    how: RunOptions,
) -> None:
    """Compare schemes against reprogramming."""
    import imcsim
    from imcsim.util import progress

    opt.check_place(how.out)
    trial = values.trial(workload, how.out)
    with progress.bar(workload) as show:
        comparison = imcsim.compare(
            how.load(workload),
            chip.preset(),
            writes=tuple(write or ()),
            batches=opt.numbers(batch),
            schemes=opt.words(schemes),
            engine=how.engine,
            seed=how.seed,
            processes=jobs,
            keep_runs=how.out if keep_runs else None,
            trial=trial,
            basis=basis,
            progress=show,
        )
        folder = comparison.write(how.out)
    how.show(folder / "compare.json", lambda console: _print(comparison, console))


def _print(comparison: Comparison, console: Console) -> None:
    """Print the tables, and what held the runs that took longer than their closed form."""
    from imcsim.reporting.terminal.comparison import print_comparison

    print_comparison(comparison, console)
    for sentence in comparison.waits:
        typer.echo(sentence)
