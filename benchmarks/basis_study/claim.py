"""Is "below 1 % of the cycles" (arXiv 2407.03738, abstract) true, for which writes, batches and baselines?

Usage: python benchmarks/basis_study/claim.py

Basis combination against layer-by-layer (R0) and packed (R1) reprogramming on 256 crossbars of 128x128, 8 bits at 2
bits per differential cell, one ADC per crossbar; M = L = 128, q = 8, 4-bit coefficients. Weights of ImageNet networks
are not needed: supports of the coefficients are random (seed 0), but really scheduled into time slots. Four figures per
case: the value of a table that was worked out by hand before the simulator (``table_4_1.csv``), the closed forms behind
it, which assume that no kernel waits for another one's column (``contest_free``), the closed form of the plan with its
real slots (``closed_form``), and the simulation. Results: ``results/claim.csv``.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pandas as pd
from cost_runs import BASELINES, NETWORKS, Rows, alone, chip, kept, measured, request, save

from imcsim.hardware.hardware import Hardware
from imcsim.mapping.schemes.base import LayerGroup, layer_groups
from imcsim.mapping.schemes.estimates import compute_cycles, write_cycles
from imcsim.mapping.schemes.reprogram import Reprogram
from imcsim.util.progress import Progress
from imcsim.workload.workload import load_workload

WRITES = ("ideal_single", "radar2b_row", "ember2b_word", "radar2b_serial", "neurram_serial")
BATCHES = (1, 16, 64, 256)
LENGTH, VECTORS, NONZEROS, COEFF_BITS, LINES = 128, 128, 8, 4, 16
SIZES = {"length": LENGTH, "vectors": VECTORS, "nonzeros": NONZEROS, "coeff_bits": COEFF_BITS, "lines": LINES}
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "inferred": ("basisn_inferred", {**SIZES, "colouring": "first_fit"}),
    "inferred_rlf": ("basisn_inferred", {**SIZES, "colouring": "recursive_largest_first"}),
    "broadcast": ("basis_broadcast", SIZES),
}
RATIOS = {"cycles_ratio": "cycles", "closed_form_ratio": "closed_form_cycles",
          "edp_latency_ratio": "edp_latency_pj_ns", "edp_throughput_ratio": "edp_throughput_pj_ns"}  # fmt: skip


def run(results: Path, progress: Progress) -> None:
    """Simulate all cases and write ``claim.csv``."""
    cases = {}
    for network, batch in product(NETWORKS, BATCHES):
        for name, (scheme, options) in BASES.items():  # written once: the write circuit does not matter to them
            cases[f"{network} {batch} {name}"] = partial(_measured, network, WRITES[0], scheme, options, batch)
        for write, (name, options) in product(WRITES, BASELINES.items()):
            key = f"{network} {batch} {name} {write}"
            cases[key] = partial(_measured, network, write, "reprogram", options, batch)
    save(results, "claim", _rows(kept(results, "claim", cases, progress)))


def _measured(network: str, write: str, scheme: str, options: dict[str, Any], batch: int) -> dict[str, Any]:
    return measured(request(network, chip(write), scheme, options, batch))


def _rows(found: dict[str, Any]) -> Rows:
    table = pd.read_csv(Path(__file__).with_name("table_4_1.csv"))
    known = table.set_index(["network", "write", "baseline", "batch"]).to_dict("index")
    rows = []
    for network, write, baseline, batch in product(NETWORKS, WRITES, BASELINES, BATCHES):
        base = found[f"{network} {batch} {baseline} {write}"]
        by_hand = known.get((network, write, baseline, batch), {})
        for name in BASES:
            own = found[f"{network} {batch} {name}"]
            percent = by_hand.get(f"{name.removesuffix('_rlf')}_percent")
            rows.append({
                "network": network, "write": write, "baseline": baseline, "batch": batch, "basis": name,
                "cycles": own["cycles"], "baseline_cycles": base["cycles"],
                **{ratio: own[key] / base[key] for ratio, key in RATIOS.items()},
                "contest_free_ratio": contest_free_ratio(network, write, baseline, name, batch),
                "table_ratio": percent / 100 if percent is not None else None,
                "simulated_over_table": 100 * own["cycles"] / base["cycles"] / percent if percent else None,
                "energy_pj": own["energy_pj"], "baseline_energy_pj": base["energy_pj"],
                "slots": next(iter(own["slots"].values()), None), "slots_bound": own["slots"].get("slots_lower_bound"),
                "most_writes_of_a_crossbar_per_image": base["writes_per_batch"] / batch,
            })  # fmt: skip
    return rows


# -- the closed forms of the table, worked out again -------------------------------------------------------------------


def contest_free_ratio(network: str, write: str, baseline: str, basis: str, batch: int) -> float:
    """Basis over baseline where kernels never wait for a column, and memory and digital units for nothing."""
    hardware = chip(write)
    parts = layer_groups(load_workload(network), hardware)
    base = packed_cycles(parts, hardware, batch) if baseline == "reprogram_packed" else _layers(parts, hardware, batch)
    return sum(basis_cycles(block, hardware, batch, basis) for block in parts) / base


def _layers(parts: tuple[LayerGroup, ...], hardware: Hardware, batch: int) -> float:
    """R0: Q W + ceil(Bt P / floor(X / T)) T_in tau, or ceil(T / X) passes, each over the whole batch."""
    total = 0
    for block in parts:
        n_tiles, write = block.grid.crossbars, write_cycles(block.grid, hardware, 0.0)
        n_passes, copies = -(-n_tiles // hardware.n_crossbars), max(1, hardware.n_crossbars // n_tiles)
        total += n_passes * (write + compute_cycles(block, hardware, batch, copies))
    return total


def packed_cycles(parts: tuple[LayerGroup, ...], hardware: Hardware, batch: int) -> float:
    """R1: per partition one write and the pipeline of its layers, ((Bt - 1) max P + sum P) T_in tau."""
    total = 0
    for partition in Reprogram(grouping="packed").partitions(parts, hardware.n_crossbars, hardware, batch):
        runs = [compute_cycles(piece.block, hardware, 1) for piece in partition]
        write = max(write_cycles(piece.grid, hardware, 0.0) for piece in partition)
        total += write + (batch - 1) * max(runs) + sum(runs)
    return total


def basis_cycles(block: LayerGroup, hardware: Hardware, batch: int, basis: str) -> float:
    """ceil(Bt P S / D) T_in max(t_xb slots, conversions), with as many slots as without any contest."""
    layer, per_weight = block.layer, hardware.weight_columns(8)
    m_b = VECTORS * per_weight // hardware.crossbar.columns
    kernels = layer.channels // layer.groups
    vectors = -(-batch * layer.positions * layer.groups * -(-layer.rows // LENGTH) // (hardware.n_crossbars // m_b))
    if basis == "broadcast":
        return vectors * hardware.input_phases(8, LENGTH) * hardware.phase_cycles(VECTORS * per_weight // m_b)
    slots = -(-kernels * COEFF_BITS // min(LINES, VECTORS // NONZEROS))
    convert = hardware.phase_cycles(-(-kernels * COEFF_BITS * per_weight // m_b))
    return vectors * hardware.input_phases(8, LENGTH) * max(slots, convert)


if __name__ == "__main__":
    alone("claim", run)
