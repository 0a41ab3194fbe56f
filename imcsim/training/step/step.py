"""Simulate one step of training: the plan, its prices, the engine, the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from imcsim.hardware.hardware import Hardware
from imcsim.hardware.preset import AnyHardware, loaded
from imcsim.hardware.update_circuit import load_circuit
from imcsim.mapping.tiling import cut
from imcsim.mapping.update_rates import UpdateRates, assumed_rates
from imcsim.timing.simulate import simulate
from imcsim.training.step.options import StepOptions
from imcsim.training.step.plan import training_plan
from imcsim.training.step.prices import price_table, with_shared_converters
from imcsim.training.step.report import StepReport
from imcsim.util.progress import Progress, silent
from imcsim.workload.importers import as_workload
from imcsim.workload.workload import Workload

Rates = Mapping[str, UpdateRates]
"""By weighted layer"""


def train_step(
    workload: str | Path | Workload,
    hardware: AnyHardware,
    options: StepOptions | None = None,
    rates: Rates | Literal["assumed"] = "assumed",
    *,
    engine: str = "fast",
    progress: Progress = silent,
) -> StepReport:
    """Simulate one step of training: a batch forward and backward, and the update of all weights.

    Parameters
    ----------
    workload : str, Path or Workload
        A shipped name, a trace, an ONNX or TensorFlow Lite model, or what ``load_workload`` returned.
    hardware : str, Path, Preset or Hardware
        A shipped name or a YAML file; a ``Preset`` or loaded hardware where something is changed about it.
    options : StepOptions, optional
        Images of the step, when weights change, where gradients add up, and so on.
    rates : mapping of str to UpdateRates, or 'assumed'
        How much changes at an update, by weighted layer.
    engine : {'fast', 'simpy'}
        Which engine executes the plan.
    progress : callable
        Is told of what is done, the total and the next step.

    Returns
    -------
    StepReport
        Times in ns, energies in pJ, memory in bits, by event and by layer.

    Raises
    ------
    ImcsimError
        For every kind of bad input, before anything is simulated.

    Examples
    --------
    >>> report = train_step("resnet20_cifar", "hermes-64", StepOptions(batch=2))
    >>> report.counts["forward_products_per_image"]
    11073
    """
    chosen = options or StepOptions()
    network, chip = as_workload(workload), loaded(hardware)
    circuit = load_circuit(chosen.circuit)
    known = assumed_for(network, chip) if rates == "assumed" else rates
    planned = training_plan(network, chip, chosen, known, circuit)
    shared = with_shared_converters(chip) if chosen.transpose_adc == "shared" else chip
    execution = simulate(planned.plan, planned.workload, shared, chosen.batch, engine, progress)
    return StepReport(
        network, chip, chosen, known, circuit, planned, execution, price_table(chip, circuit, chosen), engine
    )


def assumed_for(workload: Workload, hardware: Hardware) -> dict[str, UpdateRates]:
    """Return the assumed rates of every weighted layer, for as many weights as a row of its crossbars holds."""
    rates = {}
    for layer in workload.weighted:
        grid, columns = cut(layer, hardware), hardware.weight_columns(layer.weight_quant.bits)
        rates[layer.name] = assumed_rates(round(sum(grid.cells) / sum(grid.rows) / columns))
    return rates
