"""Collect the prices of a training step: those of the chip, those of changing weights, and converters on the rows."""

from __future__ import annotations

from imcsim.hardware.actions import Component
from imcsim.hardware.adcs import Pooled
from imcsim.hardware.adcs.survey import SurveyAdc
from imcsim.hardware.cost_table import CostTable
from imcsim.hardware.hardware import Hardware
from imcsim.hardware.price_row import PriceRow
from imcsim.hardware.update_circuit import UpdateCircuit
from imcsim.training.step.options import StepOptions

ROWS_ADC = "adc (rows)"


def price_table(hardware: Hardware, circuit: UpdateCircuit, options: StepOptions) -> CostTable:
    """Return the price table of the chip with the rows that training adds.

    Raises ImcsimError for an action without a price.
    """
    table = CostTable.of(hardware)
    added = circuit.parts()
    if options.transpose_adc == "bank":
        added[ROWS_ADC] = _second_bank(hardware, table, options.node_nm)
    groups = {part.per: hardware.n_groups(part.per) for part in added.values()}
    return CostTable(table.hardware, table.parts | added, table.n_groups | groups)


def _second_bank(hardware: Hardware, table: CostTable, node_nm: float) -> PriceRow:
    """Return a row as large as the first bank.

    Where its area lies in another row, it is by the survey fit. Conversions have one price.
    """
    first, adc = table.parts[Component.ADC], hardware.tile.adc
    if first.area_um2:
        return first.model_copy(update={"actions_pj": {}, "source": f"assumed as the first bank: {first.source}"})
    fitted = SurveyAdc(kind="survey", bits=adc.bits, convert_ns=adc.convert_ns, sharing=adc.sharing,
                         enob_bits=float(adc.bits), node_nm=node_nm).part()  # fmt: skip
    source = f"assumed, the preset does not list it; at {node_nm:g} nm: {fitted.source}"
    return fitted.model_copy(update={"actions_pj": {}, "leakage_uw": 0.0, "peak_uw": 0.0, "source": source})


def with_shared_converters(hardware: Hardware) -> Hardware:
    """Return the same chip with private converters as pools of one crossbar each.

    So both directions wait for them.
    """
    adc = hardware.tile.adc
    if isinstance(adc.sharing, Pooled):
        return hardware
    pool = Pooled(kind="pooled", crossbars_per_pool=1, n_per_pool=adc.sharing.n_per_crossbar)
    tile = hardware.tile.model_copy(update={"adc": adc.model_copy(update={"sharing": pool})})
    return hardware.model_copy(update={"tile": tile})
