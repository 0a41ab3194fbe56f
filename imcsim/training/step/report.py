"""Say what a training step means: time, energy and memory by event and by layer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imcsim.hardware import provenance
from imcsim.hardware.actions import ACCUMULATOR_RESET, ACCUMULATOR_SET
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware
from imcsim.hardware.update_circuit import UpdateCircuit
from imcsim.mapping.plan import Mvm, TransposeMvm
from imcsim.mapping.update_rates import DIGITAL_BITS, UpdateRates, sources_of
from imcsim.timing.execution import Execution
from imcsim.training.step.anchor import full_products
from imcsim.training.step.events import Events
from imcsim.training.step.options import StepOptions
from imcsim.training.step.plan import TrainingPlan, kept_layers
from imcsim.util import units
from imcsim.util.version import VERSION
from imcsim.workload.workload import Workload, n_weights

if TYPE_CHECKING:
    from pandas import DataFrame

DEVICES_PER_PAIR = 2
NAMES_SHOWN = 4  # of layers in a note; the others are in spilled and overfull
ASSUMED = (
    "assumed by this model: batch normalisation is part of the layer before it, as in inference; its statistics and "
    "the gradients through them cost nothing",
    "assumed by this model: the loss is a softmax against a label; derivatives of activations are kept as bits beside "
    "the digital units, which costs nothing; sums of gradients have room in the buffers",
    "assumed by this model: pulse trains have a comparator for every operand and a counter for every weight, so a slot "
    "takes one cycle; their area and that of the accumulators is not counted",
)


@dataclass(frozen=True)
class StepReport:
    """Hold a simulated step with prices. Times and energies are of a whole step unless the name says otherwise.

    ``execution``: what the engine saw; with one update per sample the phases of all samples stand one behind the other.
    """

    workload: Workload
    hardware: Hardware
    options: StepOptions
    rates: Mapping[str, UpdateRates]
    circuit: UpdateCircuit
    training_plan: TrainingPlan
    execution: Execution
    costs: CostTable
    engine: str

    @property
    def step_s(self) -> float:
        """Return how long the step takes: the duration of a batch for a training that lets devices drift."""
        return self.execution.makespan_ps / units.PS_PER_NS / units.NS_PER_S

    @property
    def energy_pj(self) -> float:
        """Return the energy of the step, leakage included."""
        return float(self.events["energy_pj"].sum())

    @cached_property
    def events(self) -> DataFrame:
        """Return per event the time in which it held the step, its share in per cent, and its energy.

        Times are of the critical path, so they sum to the step; what runs beside it takes no time of its own.
        """
        return self._seen.table()

    @cached_property
    def layers(self) -> DataFrame:
        """Return per layer of the network the energy of the step in pJ, a column for each event, and their sum."""
        return self._seen.by_layer([layer.name for layer in self.workload.layers])

    @cached_property
    def movement(self) -> DataFrame:
        """Return what the data movement of ``events`` is made of: event that it serves, component, energy in pJ."""
        return self._seen.movement()

    @cached_property
    def _seen(self) -> Events:
        return Events(self.execution, self.costs, self.training_plan.owner)

    @cached_property
    def counts(self) -> dict[str, float]:
        """Count how much is done: products are of one crossbar each; of one image, or of one update."""
        operations = [*self.execution.plan.operations()]
        forward = [op for op in operations if isinstance(op, Mvm)]
        back = [op for op in operations if isinstance(op, TransposeMvm)]
        weights, amounts = self.workload.n_weights, self._totals
        updates = self.options.batch if self.options.update == "sample" else 1
        return {
            "weights": weights,
            "forward_products_per_image": sum(op.layer.positions * op.grid.crossbars for op in forward),
            "transposed_products_per_image": sum(op.forward.positions * op.grid.crossbars for op in back),
            "outer_macs_per_image": sum(n_weights(layer) * layer.positions for layer in self.workload.weighted),
            "updates_per_step": updates,
            "flips_per_update": (amounts[ACCUMULATOR_SET] + amounts[ACCUMULATOR_RESET]) / updates,
            "carry_pulses_per_update": sum(
                self.rates[layer.name].carry_pulses * n_weights(layer) for layer in self.workload.weighted
            ),
        }

    @cached_property
    def memory(self) -> dict[str, int]:
        """Return bits and devices: weights, accumulated gradients, sums of a batch, inputs kept for outer products."""
        weights, options = self.workload.n_weights, self.options
        kept = sum(layer.elements * layer.input_quant.bits for layer in kept_layers(self.workload))
        return {
            "pair_devices": DEVICES_PER_PAIR * weights,
            "accumulator_bits": options.stored_bits * weights,
            "accumulator_devices": options.accumulator_bits * weights if options.accumulator == "pcm" else 0,
            "gradient_sum_bits": DIGITAL_BITS * weights,
            "kept_input_bits_per_image": kept,
        }

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return the headline figures, as plain values for JSON."""
        step_ns, options = self.execution.makespan_ps / units.PS_PER_NS, self.options
        steps = -(-options.epoch_images // options.batch)
        figures = {
            "imcsim_version": VERSION,
            "workload": self.workload.name,
            "hardware": self.hardware.name,
            "circuit": self.circuit.name,
            "engine": self.engine,
            "options": options.model_dump(mode="json"),
            "step": _figures(step_ns, self.energy_pj, self.hardware.period_ps),
            "epoch": {
                "images": options.epoch_images,
                "steps": steps,
                **_figures(steps * step_ns, steps * self.energy_pj, self.hardware.period_ps),
            },
            "events": self.events.to_dict("records"),
            "movement": self.movement.to_dict("records"),
            "layers": self.layers.to_dict("records"),
            "counts": self.counts,
            "memory": self.memory,
            "area_um2": self.costs.area_um2,
            "crossbars_used": self.execution.plan.crossbars_used,
            "crossbars_available": self.hardware.n_crossbars,
            "full_products": {name: asdict(product) for name, product in full_products(self.hardware).items()},
            "spilled": list(self.execution.spilled),
            "overfull": list(self.execution.overfull),
            "rates": sources_of(self.rates.values()),
            "assumed": [*sources_of(self._assumed_rates), *self.circuit.assumed(), *ASSUMED, *self.hardware.assumed()],
            "notes": self._notes(),
        }
        return json.loads(json.dumps(figures, allow_nan=False, default=float))  # type: ignore[no-any-return]

    def _notes(self) -> list[str]:
        execution, notes = self.execution, []
        if execution.spilled:
            notes.append(f"outputs that do not fit the buffers go through DRAM: {_some(execution.spilled)}")
        if execution.overfull:
            notes.append(f"line buffers granted although larger than their share: {_some(execution.overfull)}")
        simulated = min(result.n_simulated for result in execution.results)
        if simulated < execution.batch:
            notes.append(
                f"{simulated} of {execution.batch} images were simulated; the others repeat their pattern exactly"
            )
        return notes

    @property
    def _assumed_rates(self) -> list[UpdateRates]:
        return [rates for rates in self.rates.values() if provenance.is_assumed(rates.source)]

    @cached_property
    def _totals(self) -> dict[tuple[str, str], float]:
        totals: dict[tuple[str, str], float] = defaultdict(float)
        for (_, component, action), amount in self.execution.amounts().items():
            totals[component, action] += amount
        return totals


def _some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    rest = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + rest


def _figures(time_ns: float, energy_pj: float, period_ps: int) -> dict[str, float]:
    time_ps = time_ns * units.PS_PER_NS
    return {"cycles": time_ps / period_ps, "time_ns": time_ns, "energy_pj": energy_pj, "edp_pj_ns": energy_pj * time_ns}
