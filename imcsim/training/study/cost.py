"""Say what a step of a training takes on a chip: the engine of inference prices the updates that were counted."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.mapping.tiling import cut
from imcsim.mapping.update_rates import UpdateRates
from imcsim.training.hic.export import save_onnx
from imcsim.training.hic.options import HybridOptions
from imcsim.training.step.anchor import full_products
from imcsim.training.step.calibration import simulate_calibration
from imcsim.training.step.options import StepOptions
from imcsim.training.step.report import StepReport
from imcsim.training.step.step import Rates, train_step
from imcsim.util.errors import ImcsimError
from imcsim.util.units import NS_PER_S
from imcsim.workload.importers import load_network
from imcsim.workload.workload import Workload

if TYPE_CHECKING:
    from torch import nn

TILES = "chip.n_tiles"
LAYERS_HINT = "build it of Conv2d, Linear, BatchNorm, ReLU, pooling and additions"


def workload_of(network: nn.Module, image_shape: tuple[int, ...]) -> Workload:
    """Return the layer trace of a network. Raises ImcsimError for operators that have no price."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        save_onnx(network, image_shape, path)
        try:
            return load_network(str(path))
        except ImcsimError as error:
            problem = f"its step cannot be priced ({error.problem})"
            raise ImcsimError("--network", problem, LAYERS_HINT) from None


def step_of(
    workload: Workload,
    order: list[str],
    chip: Hardware,
    batch: int,
    epoch_images: int,
    entry: Mapping[str, Any],
    hybrid: HybridOptions,
) -> StepReport:
    """Simulate one step of a training on a chip; ``entry``: of ``runs.execute``, or {} for assumed amounts.

    Raises ImcsimError where the chip cannot hold the network.
    """
    given = {
        "batch": batch,
        "epoch_images": epoch_images,
        "accumulator_bits": hybrid.bits,
        "outer": hybrid.outer,
        "pulse_length": hybrid.train_length,
        "refresh_every": hybrid.refresh_every,
    }
    options = StepOptions.model_validate(given)
    rates: Rates = {}
    if entry:
        names = [layer.name for layer in workload.weighted]
        if len(names) != len(order):
            problem = f"computes {len(order)} layers with weights, of which {len(names)} lead to its scores"
            raise ImcsimError("--network", problem, "leave out what is not used")
        rates = {name: _rates(entry, counted) for name, counted in zip(names, order, strict=True)}
    return train_step(workload, chip, options, rates or "assumed")


def large_enough(workload: Workload, name: str, overrides: Mapping[str, str]) -> Hardware:
    """Return a chip, with more tiles where the network needs them and a user does not say how many there are."""
    chip = load_hardware(name, overrides)
    needed = sum(cut(layer, chip).crossbars for layer in workload.weighted)
    if needed <= chip.n_crossbars or TILES in overrides:
        return chip
    return load_hardware(name, {**overrides, TILES: str(-(-needed // chip.tile.n_crossbars))})


def _rates(entry: Mapping[str, Any], layer: str) -> UpdateRates:
    """Return what the training did to a layer, per weight and update."""
    bits, tally = entry["bits"][layer], entry["tallies"][layer]
    updates, weights = tally["updates"], bits["weights"]
    carries = (tally["carries"] - tally["lost"]) / updates / weights
    rows_frac = tally["rows"] / updates / bits["rows"]
    longest = tally["longest"] / max(1, tally["rows"])
    refreshed = tally["refreshed"] / max(1, tally["checks"]) / weights
    pulses = tally["refresh_pulses"] / max(1, tally["refreshed"])
    source = f"counted in {updates:,} updates of the training"
    return UpdateRates(
        bits["set"] / updates, bits["reset"] / updates, carries, rows_frac, longest, refreshed, pulses, source
    )


@dataclass(frozen=True)
class Repair:
    """Describe what it takes to repair a drifted network once."""

    fix: str
    time_s: float
    energy_pj: float
    what: str


def repairs_of(workload: Workload, chip: Hardware, fixes: Sequence[str], images: int) -> list[Repair]:
    """Return the cost of each fix on a chip; ``images``: of a new normalisation.

    Factors come from a read of each row by itself, all crossbars at once, charged as full products; images of a new
    normalisation pass through the engine.
    """
    repairs = []
    product = full_products(chip)["forward"]
    rows = [n for layer in workload.weighted for n in cut(layer, chip).rows]
    for fix in fixes:
        if fix in ("global", "column"):
            time_s, what = max(rows) * product.time_ns / NS_PER_S, f"{sum(rows):,} rows read one by one"
            repairs.append(Repair(fix, time_s, sum(rows) * product.energy_pj, what))
        elif fix == "normalisation":
            cost = simulate_calibration(workload, chip, images)
            repairs.append(Repair(fix, cost.time_s, cost.energy_pj, f"{images:,} images forward"))
    return repairs
