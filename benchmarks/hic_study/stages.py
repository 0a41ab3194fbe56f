"""What the study trains: rates, then widths and seeds, effects of the cells one by one, and kinds of accumulators."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from images import Problem
from results import write

from imcsim.training.hic.ageing import AgeingOptions
from imcsim.training.hic.options import HybridOptions, TrainOptions
from imcsim.training.hic.physics import Physics
from imcsim.training.hic.runs import TrainingRun, choose_rate, execute
from imcsim.training.hic.tables import TABLES

HERE = Path(__file__).resolve().parent
UNFINISHED = HERE / "unfinished"
WIDTHS = {"mnist": (2.0, 1.0, 0.5, 2.83), "fashion": (0.5, 1.0, 2.0), "cifar": (0.5, 1.0, 1.5)}
SEEDS = {"mnist": 5, "fashion": 5, "cifar": 3}
EPOCHS = {"mnist": 10, "fashion": 10, "cifar": 20}
AGED_WIDTHS = WIDTHS | {"cifar": (1.0,)}
AGEING = {
    "mnist": AgeingOptions(draws=2), "fashion": AgeingOptions(draws=2), "cifar": AgeingOptions(draws=10, images=1000),
}  # fmt: skip
RATES = {"hybrid": (0.25, 0.5, 1.0, 2.0, 4.0), "float": (0.05, 0.1, 0.2, 0.5)}
TUNING_SEED = 100
LONG_STEP_S = 1.0  # of the run that shows drift during the training; others take a millisecond


def options_of(name: str, problem: Problem) -> TrainOptions:
    augment = ("flip", "shift") if name == "cifar" else ()
    return TrainOptions(epochs=EPOCHS[name], mean=problem.mean, std=problem.std, augment=augment)


def rate_of(name: str, problem: Problem, kind: str) -> float:
    """The best on validation images at width 1, with a seed of its own."""
    options = replace(options_of(name, problem), weights=kind, seed=TUNING_SEED)  # type: ignore[arg-type]
    rate, entries, _ = choose_rate(problem.task, TrainingRun(options), RATES[kind], UNFINISHED / name, shown)
    write(name, f"rates_{kind}", entries, ["runs"])
    return rate


def widths(name: str, problem: Problem) -> None:
    """Float and hybrid networks at every width, with every seed; hybrid ones are aged."""
    base, runs = options_of(name, problem), []
    rates = {kind: rate_of(name, problem, kind) for kind in RATES}
    for width in WIDTHS[name]:
        for kind, rate in rates.items():
            options = replace(base, weights=kind, rate=rate)  # type: ignore[arg-type]
            aged: Any = AGEING[name] if kind == "hybrid" and width in AGED_WIDTHS[name] else "none"
            runs += [TrainingRun(replace(options, seed=seed), width, ageing=aged) for seed in range(SEEDS[name])]
    done(name, "widths", problem, runs)


def effects(name: str, problem: Problem) -> None:
    """Ideal cells, each effect alone, and all of them, at width 1."""
    ideal = Physics(nonlinear=False, write_noise=False, read_noise=False, drift="none")
    kinds = {
        "ideal": ideal,
        "nonlinear": replace(ideal, nonlinear=True),
        "write noise": replace(ideal, write_noise=True),
        "read noise": replace(ideal, read_noise=True),
        "drift": replace(ideal, drift="by_conductance"),
        "all effects": Physics(drift="by_conductance"),
    }
    base = replace(options_of(name, problem), rate=rate_of(name, problem, "hybrid"), step_s=LONG_STEP_S)
    done(name, "effects", problem, variants(name, base, {key: HybridOptions(kind) for key, kind in kinds.items()}))


def accumulators(name: str, problem: Problem) -> None:
    """Widths and rounding of the accumulator, rarer refresh, and its codes, at width 1."""
    kinds = {f"{bits} bits": HybridOptions(bits=bits) for bits in (4, 5, 6, 7, 8, 10)}
    kinds |= {
        "nearest rounding": HybridOptions(rounding="nearest"),
        "refresh every 100": HybridOptions(refresh_every=100),
    }
    codes = {"sign and magnitude": HybridOptions(code="sign_magnitude"), "Gray": HybridOptions(code="gray")}
    base = replace(options_of(name, problem), rate=rate_of(name, problem, "hybrid"))
    one_seed = variants(name, base, codes)[:: SEEDS[name]]  # codes decide which bits flip, not what is learnt
    done(name, "accumulators", problem, variants(name, base, kinds) + one_seed)


def variants(name: str, base: TrainOptions, kinds: dict[str, HybridOptions]) -> list[TrainingRun]:
    seeds = range(SEEDS[name])
    return [
        TrainingRun(replace(base, hybrid=kind, seed=seed), 1.0, key) for key, kind in kinds.items() for seed in seeds
    ]


def done(name: str, stage: str, problem: Problem, runs: Iterable[TrainingRun]) -> None:
    """Do what is left of some runs, and write all of them to tables, as far as they are known."""
    entries: list[dict[str, Any]] = []
    for run in runs:
        begin = time.monotonic()
        entries += execute(problem.task, [run], UNFINISHED / name, shown)
        if time.monotonic() - begin > 1:
            print(
                f"{name} {stage}: {run.name}: {entries[-1]['accuracy_frac']:.4f}, {time.monotonic() - begin:.0f} s",
                flush=True,
            )
        write(name, stage, entries, TABLES if stage == "widths" else ("runs", "wear"))


def shown(done: int, total: int, step: str) -> None:
    """Progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total} {step}", end="", file=sys.stderr)


STAGES: dict[str, Callable[[str, Problem], None]] = {"widths": widths, "effects": effects, "accumulators": accumulators}
