"""Read the words of ``imcsim run``: one workload on one chip."""

from __future__ import annotations

from typing import Annotated

import typer

from imcsim.cli import _options as opt
from imcsim.cli._groups import ChipOptions, RunOptions, ValuesOptions, with_groups


@with_groups
def run(
    *,
    workload: opt.WorkloadArgument,
    chip: ChipOptions,
    scheme: opt.SchemeOption = "reprogram",
    option: opt.SchemeOptions = None,
    write: Annotated[str | None, typer.Option(metavar="PRESET", help="See `imcsim list writes`.")] = None,
    write_times: opt.WriteTimesOption = "expected",
    batch: Annotated[int, typer.Option(help="Images of one batch.")] = 1,
    values: ValuesOptions,
    how: RunOptions,
) -> None:
    """Simulate one workload on one chip under one scheme."""
    import imcsim
    from imcsim.reporting.terminal.run import print_report
    from imcsim.util import progress

    opt.check_place(how.out)
    trial = values.trial(workload, how.out)
    with progress.bar(workload) as show:
        report = imcsim.run(
            how.load(workload),
            chip.preset(),
            scheme,
            write=write,
            batch=batch,
            options=opt.fields("--option", option),
            engine=how.engine,
            seed=how.seed,
            sampled_writes=opt.sampled(write_times),
            trial=trial,
            progress=show,
        )
        folder = report.write(how.out)
    how.show(folder / "report.json", lambda console: print_report(report, console))
