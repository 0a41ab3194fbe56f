"""Run many trainings of one network on the same images: widths, seeds and variants, each kept when it is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from imcsim.training.hic.ageing import AgeingOptions, ageing
from imcsim.training.hic.export import save_cells, save_onnx
from imcsim.training.hic.options import TrainOptions
from imcsim.training.hic.size import float_size, hybrid_size
from imcsim.training.hic.train import DivergedError, Trained, accuracy, train, warnings
from imcsim.training.hic.wear import histograms, wear
from imcsim.training.images import split
from imcsim.training.tasks import Task
from imcsim.util.config import canonical_hash
from imcsim.util.journal import Journal
from imcsim.util.progress import Progress, silent


@dataclass(frozen=True)
class TrainingRun:
    """Describe one training; ``variant`` names what is special about its options.

    ``tested``: on the test images. ``kept``: cells and weights are left beside the journal.
    """

    options: TrainOptions
    width: float = 1.0
    variant: str = "all effects"
    ageing: AgeingOptions | Literal["none"] = "none"
    tested: bool = True
    kept: bool = False

    @property
    def name(self) -> str:
        """Return what a user sees of it."""
        options = self.options
        return f"{options.weights}, {self.variant}, width {self.width:g}, rate {options.rate:g}, seed {options.seed}"


def execute(task: Task, runs: Sequence[TrainingRun], folder: Path, progress: Progress = silent) -> list[dict[str, Any]]:
    """Return what each run came to, in order; those that ``folder`` already knows are not done again.

    An interrupted training goes on from its last whole epoch. ``progress`` is called with the batches of one run.
    """
    task.check()
    journal = Journal(folder, "runs")
    entries = []
    for number, run in enumerate(runs, 1):
        key = key_of(task, run)
        if key not in journal.entries:
            journal.add(key, perform(task, run, folder / f"{key}.pt", _titled(progress, number, len(runs), run)))
        entries.append(journal.entries[key])
    return entries


def key_of(task: Task, run: TrainingRun) -> str:
    """Return what a run is called in its folder."""
    return canonical_hash([asdict(run), task.fingerprint(run.width, run.options.seed)])


def _titled(progress: Progress, number: int, total: int, run: TrainingRun) -> Progress:
    def show(done: int, of_all: int, step: str) -> None:
        progress(done, of_all, f"{step}; run {number} of {total} ({run.name})")

    return show


def perform(task: Task, run: TrainingRun, unfinished: Path, progress: Progress = silent) -> dict[str, Any]:
    """Train, test and age one network; the result is an entry that JSON can hold."""
    network = task.build(run.width, run.options.seed)
    trained = train(network, task.data, run.options, unfinished, progress)
    entry = entry_of(run, trained)
    if run.tested:
        entry["accuracy_frac"] = accuracy(trained.network, task.test, run.options)
    if trained.layers and not isinstance(run.ageing, str):
        seen, _ = split(task.data, run.options)
        aged = ageing(trained, seen, task.test, run.ageing, progress)
        entry["ageing"] = [asdict(one) for one in aged]
    if run.kept:
        save_cells(trained, unfinished.with_suffix(".safetensors"))
        save_onnx(trained.network, task.image_shape, unfinished.with_suffix(".onnx"))
    with contextlib.suppress(FileNotFoundError):
        unfinished.unlink()
    return entry


def entry_of(run: TrainingRun, trained: Trained) -> dict[str, Any]:
    """Return all that is known without further images."""
    options, cells = run.options, [layer.cells for layer in trained.layers]
    weights, digital = _counted(trained)
    size = hybrid_size(weights, digital, options.hybrid) if cells else float_size(weights, digital)
    return {
        "weights": options.weights, "variant": run.variant, "width": run.width, "seed": options.seed,
        "rate": options.rate, "updates": trained.updates, "validation_frac": trained.history[-1].accuracy_frac,
        "size": asdict(size), "history": [asdict(epoch) for epoch in trained.history],
        "warnings": warnings(trained), "wear": [asdict(one) for one in wear(cells)],
        "histograms": histograms(cells), "tallies": {one.name: asdict(one.tally) for one in cells},
        "bits": {one.name: _flips(one) for one in cells},
    }  # fmt: skip


def _flips(cells: Any) -> dict[str, Any]:
    """Count weights, rows of crossbars, and the bits of accumulators set and reset per weight, in all."""
    return {
        "weights": cells.size,
        "rows": cells.rows,
        "set": float(cells.bit_set.sum(dtype=np.int64) / cells.size),
        "reset": float(cells.bit_reset.sum(dtype=np.int64) / cells.size),
    }


def _counted(trained: Trained) -> tuple[int, int]:
    """Return (weights, other numbers) of a network."""
    kinds = (nn.Conv2d, nn.Linear)
    if trained.layers:
        weights = sum(layer.cells.size for layer in trained.layers)
    else:
        weights = sum(layer.weight.numel() for layer in trained.network.modules() if isinstance(layer, kinds))
    normal = [module for module in trained.network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    statistics = sum(2 * module.num_features for module in normal)
    return weights, sum(p.numel() for p in trained.network.parameters()) - weights + statistics


def choose_rate(
    task: Task, run: TrainingRun, rates: Sequence[float], folder: Path, progress: Progress = silent
) -> tuple[float, list[dict[str, Any]], list[str]]:
    """Return the rate that answers most validation images, the entries of all, and what to say of those that failed.

    The test images do not count. Raises ImcsimError where all failed.
    """
    entries: list[dict[str, Any]] = []
    failed: list[DivergedError] = []
    for rate in rates:
        one = replace(run, options=replace(run.options, rate=rate), ageing="none", tested=False)
        try:
            entries += execute(task, [one], folder, progress)
        except DivergedError as error:
            (folder / f"{key_of(task, one)}.pt").unlink(missing_ok=True)
            failed.append(error)
    if not entries:
        raise failed[-1]
    best = max(entries, key=lambda entry: float(entry["validation_frac"]))
    return best["rate"], entries, [str(error) for error in failed]


def grid(
    kinds: Sequence[str], widths: Sequence[float], seeds: Sequence[int], base: TrainOptions, aged: AgeingOptions
) -> Iterator[TrainingRun]:
    """Return a run for every kind of weights at every width with every seed."""
    for width in widths:
        for kind in kinds:
            for seed in seeds:
                options = replace(base, weights=kind, seed=seed)  # type: ignore[arg-type]
                yield TrainingRun(options, width, ageing=aged if kind == "hybrid" else "none")
