"""Does every weight lie on one crossbar, and do plan, values and bases agree about which?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imcsim
from imcsim.functional.evaluate import Trial
from imcsim.functional.layout import layer_content
from imcsim.hardware.hardware import Hardware, load_hardware
from imcsim.mapping.basis.targets import Target
from imcsim.mapping.plan import Basis, Mvm
from imcsim.mapping.schemes import load_scheme
from imcsim.mapping.tiling import TileGrid, Tiling, crossbar_tiling, cut
from imcsim.util.errors import ImcsimError
from imcsim.workload.quantised import IntegerLayer
from imcsim.workload.quantised.layers import Format
from imcsim.workload.workload import Conv, Linear, Quantisation, WeightedLayer, Window, load_workload

MODELS = Path(__file__).parents[2] / "workloads" / "models"
POLARITIES = ["differential", "offset", "paired"]
Place = tuple[int, int, int]  # crossbar, wordline, first bitline


# -- layers and chips --------------------------------------------------------------------------------------------------


def planned(layer: IntegerLayer) -> WeightedLayer:
    """Return a layer of the trace with the sizes of an integer layer: a convolution of one column of a kernel."""
    window = Window(kernel=(layer.rows, 1), stride=(1, 1), padding=(0,) * 4, dilation=(1, 1))
    return Conv(name=layer.name, inputs=("x",), output_shape=(layer.channels, 2, 2), in_channels=layer.groups,
                window=window, groups=layer.groups, weight_quant=Quantisation(bits=8))  # fmt: skip


@st.composite
def layers(draw: st.DrawFn) -> IntegerLayer:
    """Draw layers whose weights are all different and none 0, so that each can be told where it lies."""
    groups, rows, per_group = draw(st.integers(1, 12)), draw(st.integers(1, 90)), draw(st.integers(1, 30))
    weights = 1 + np.arange(groups * per_group * rows).reshape(-1, rows)
    entry = Format(0.1, 0, np.dtype(np.int8))
    return IntegerLayer("layer", weights, np.zeros(len(weights), int), groups, entry, np.ones(1, np.float32), None)


@st.composite
def chips(draw: st.DrawFn) -> Hardware:
    """Draw chips of all polarities and bits per cell, whose crossbars take one 8-bit weight at least."""
    bits_per_cell, polarity = draw(st.integers(1, 8)), draw(st.sampled_from(POLARITIES))
    columns_per_weight = -(-8 // bits_per_cell) * (2 if polarity == "differential" else 1)
    rows, columns = draw(st.integers(1, 64)), draw(st.integers(columns_per_weight, 100))
    return load_hardware("rram-256", {
        "crossbar.rows": rows, "crossbar.wordlines_active": rows, "crossbar.columns": columns,
        "crossbar.bits_per_cell": bits_per_cell, "crossbar.polarity": polarity,
    })  # fmt: skip


def one_by_one(layer: IntegerLayer, rows: int, columns: int, columns_per_weight: int) -> dict[tuple[int, int], Place]:
    """Place weight after weight (channel, row of its group) by hand; a crossbar is left when the next does not fit.

    Groups go to the diagonal of a crossbar while at least two of them fit one.
    """
    per_group, across = layer.channels // layer.groups, columns // columns_per_weight
    room = min(rows // layer.rows, across // per_group)
    places, crossbar = {}, 0
    for group in range(layer.groups):
        slot = group % room if room > 1 else 0
        if group and (room < 2 or slot == 0):
            crossbar = 1 + max(place[0] for place in places.values())
        for row in range(layer.rows):
            for channel in range(per_group):
                tile = row // rows * -(-per_group // across) + channel // across if room < 2 else 0
                line = slot * layer.rows + (row if room > 1 else row % rows)
                first = slot * per_group + (channel if room > 1 else channel % across)
                key = (group * per_group + channel, row)
                places[key] = (crossbar + tile, line, first * columns_per_weight)
    return places


def columns_per_weight_of(hardware: Hardware) -> int:
    """Count the columns of an 8-bit weight from the declaration alone."""
    bar = hardware.crossbar
    return -(-8 // bar.bits_per_cell) * (2 if bar.polarity == "differential" else 1)


# -- crossbars ---------------------------------------------------------------------------------------------------------


@given(layers(), chips())
@settings(deadline=None)
def test_every_weight_lies_on_one_crossbar_once(layer: IntegerLayer, hardware: Hardware) -> None:
    """The blocks of the values pass hold each weight where a placement one by one puts it, and zeros elsewhere."""
    per_weight, content = columns_per_weight_of(hardware), layer_content(layer, hardware, 8)
    assert content.code.columns == per_weight
    expected = one_by_one(layer, hardware.crossbar.rows, hardware.crossbar.columns, per_weight)
    seen: dict[tuple[int, int], Place] = {}
    for number, block in enumerate(content.blocks):
        assert block.weights.shape == (len(block.rows), len(block.channels))
        for line, column in zip(*np.nonzero(block.weights), strict=True):
            channel, row = divmod(int(block.weights[line, column]) - 1, layer.rows)
            assert block.channels[column] == channel
            assert block.rows[line] == channel // (layer.channels // layer.groups) * layer.rows + row
            assert (channel, row) not in seen
            seen[channel, row] = (number, int(line), int(column) * per_weight)
    assert seen == expected


@given(layers(), chips())
@settings(deadline=None)
def test_a_plan_has_the_crossbars_of_the_values(layer: IntegerLayer, hardware: Hardware) -> None:
    """Crossbar by crossbar, wordlines, bitlines and cells are those of the blocks, and of weights placed one by one."""
    grid, content = cut(planned(layer), hardware), layer_content(layer, hardware, 8)
    per_weight = columns_per_weight_of(hardware)
    assert grid.rows == tuple(len(block.rows) for block in content.blocks)
    assert grid.columns == tuple(len(block.channels) * per_weight for block in content.blocks)
    assert grid.cells == tuple(int(np.count_nonzero(block.weights)) * per_weight for block in content.blocks)
    assert sum(grid.cells) == layer.weights.size * per_weight
    assert max(grid.rows) <= hardware.crossbar.rows
    assert max(grid.columns) <= hardware.crossbar.columns
    places = one_by_one(layer, hardware.crossbar.rows, hardware.crossbar.columns, per_weight).values()
    assert dict(enumerate(grid.cells)) == {
        bar: n * per_weight for bar, n in Counter(place[0] for place in places).items()
    }


@given(layers(), chips(), st.data())
@settings(deadline=None)
def test_places_tell_who_shares_inputs_and_outputs(
    layer: IntegerLayer, hardware: Hardware, data: st.DataObject
) -> None:
    """Crossbars of a block row read the same inputs, those of a block column add to the same outputs, in a pass too."""
    grid, blocks = cut(planned(layer), hardware), layer_content(layer, hardware, 8).blocks
    start = data.draw(st.integers(0, grid.crossbars - 1))
    stop = data.draw(st.integers(start + 1, grid.crossbars))
    part, held = grid.part(start, stop), blocks[start:stop]
    assert part.outputs.tolist() == [len(block.channels) for block in held]
    for numbers, contents in (
        (part.block_row, [b.rows for b in held]),
        (part.block_column, [b.channels for b in held]),
    ):
        pairs = {(int(number), tuple(content.tolist())) for number, content in zip(numbers, contents, strict=True)}
        assert len(pairs) == len({number for number, _ in pairs}) == len({content for _, content in pairs})
    column = {number: sorted({int(b.rows[0]) for b, n in zip(blocks, grid.block_column, strict=True) if n == number})
              for number in part.block_column}  # fmt: skip
    tiles = [column[n].index(int(b.rows[0])) for b, n in zip(held, part.block_column, strict=True)]
    assert part.row_tile.tolist() == tiles
    assert all(len(rows) == grid.row_tiles for rows in column.values())


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("bits_per_cell", range(1, 9))
def test_a_network_has_whole_weights_on_every_crossbar(bits_per_cell: int, polarity: str) -> None:
    hardware = load_hardware("rram-256", {"crossbar.bits_per_cell": bits_per_cell, "crossbar.polarity": polarity})
    per_weight = columns_per_weight_of(hardware)
    for layer in load_workload("resnet20_cifar").weighted:
        grid = cut(layer, hardware)
        assert grid.crossbars == -(-layer.rows // 128) * -(-layer.channels // (128 // per_weight))
        assert not any(columns % per_weight for columns in grid.columns)


def test_weights_of_six_columns_take_160_crossbars() -> None:
    """21 weights of 6 columns fit 128 columns, so 128 / 6 of them would straddle two crossbars."""
    hardware = load_hardware("rram-256", {"crossbar.bits_per_cell": 3})
    grids = [cut(layer, hardware) for layer in load_workload("resnet20_cifar").weighted]
    assert sum(grid.crossbars for grid in grids) == 160
    assert max(max(grid.columns) for grid in grids) == 126


def test_a_weight_wider_than_a_crossbar_is_refused() -> None:
    """The plan and the values say the same sentence."""
    hardware = load_hardware("rram-256", {"crossbar.columns": 7})
    layer = Linear(name="fc", inputs=("x",), output_shape=(3,), in_channels=4, weight_quant=Quantisation(bits=8))
    entry = Format(0.1, 0, np.dtype(np.int8))
    integers = IntegerLayer("fc", np.ones((3, 4), int), np.zeros(3, int), 1, entry, np.ones(1, np.float32), None)
    sentence = (r"^layer 'fc': a weight takes 8 columns, a crossbar has 7; use more bits per cell "
                r"\(crossbar.bits_per_cell\) or wider crossbars \(crossbar.columns\)$")  # fmt: skip
    with pytest.raises(ImcsimError, match=sentence):
        cut(layer, hardware)
    with pytest.raises(ImcsimError, match=sentence):
        layer_content(integers, hardware, 8)
    with pytest.raises(ImcsimError, match="a weight takes 8 columns, a crossbar has 7"):
        load_scheme("static", {}).plan(load_workload("resnet20_cifar"), hardware, 1, 0)


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("polarity", ["differential", "offset"])
@pytest.mark.parametrize("scheme", ["static", "reprogram"])
def test_a_network_computes_exactly_where_weights_would_have_straddled(scheme: str, polarity: str) -> None:
    """With exact cells and enough codes every image gets the answer of exact integers."""
    overrides: dict[str, Any] = {
        "crossbar.bits_per_cell": 3, "crossbar.polarity": polarity, "tile.adc.bits": 12, "chip.n_tiles": 64,
    }  # fmt: skip
    model = str(MODELS / "resnet8_fashion.onnx")
    trial = Trial(model, str(MODELS / "fashion_mnist_1000.npz"), images=20, device="ideal")
    values = imcsim.run(model, "rram-256", scheme, overrides=overrides, trial=trial).summary["values"]
    assert values["agreement_frac"] == 1.0
    assert {tuple(layer["snr"]) for layer in values["layers"]} == {("kind",)}  # no sum of any layer is off


# -- segments of a basis -----------------------------------------------------------------------------------------------


@given(layers(), st.integers(1, 64))
@settings(deadline=None)
def test_segments_hold_every_weight_once(layer: IntegerLayer, length: int) -> None:
    """The segments that a fit looks at have the sizes of the tiling, and each weight once."""
    tiling, target = Tiling.of(layer, length), Target.of(layer, length)
    shared = max([n for n in range(1, layer.groups + 1) if n * layer.rows <= length], default=1)
    terms = 1 if shared * layer.rows <= length else -(-layer.rows // length)
    assert (tiling.shared, tiling.row_tiles, tiling.column_tiles) == (shared, terms, 1)
    assert target.kernels.shape == (
        -(-layer.groups // shared), terms, shared * (layer.channels // layer.groups), length,
    )  # fmt: skip
    assert tiling.n_blocks == target.rows.size == len(list(tiling.blocks()))
    weights = np.rint(target.kernels * target.unit).astype(int)
    assert sorted(weights[weights != 0]) == list(range(1, layer.weights.size + 1))


@given(st.integers(1, 64), st.integers(1, 200), st.integers(1, 8), chips())
@settings(deadline=None)
def test_no_basis_vector_lies_on_two_crossbars(length: int, vectors: int, bits: int, hardware: Hardware) -> None:
    basis = Basis(min(length, hardware.crossbar.rows), vectors, 1, 4, bits, "broadcast", "digital", 1)
    per_weight, grid = hardware.weight_columns(bits), TileGrid.of(basis.tiling(hardware), hardware.weight_columns(bits))
    across = hardware.crossbar.columns // per_weight
    widths = [min(across, vectors - first) * per_weight for first in range(0, vectors, across)]
    assert (grid.columns, set(grid.rows), grid.row_tiles) == (tuple(widths), {basis.length}, 1)
    assert grid.cells == tuple(basis.length * width for width in widths)


def test_a_plan_of_passes_keeps_whole_weights() -> None:
    """Passes of a layer larger than the chip are whole crossbars of its grid, each once."""
    hardware = load_hardware("rram-256", {"crossbar.bits_per_cell": 3, "chip.n_tiles": 1})
    workload = load_workload("resnet20_cifar")
    plan = load_scheme("reprogram", {}).plan(workload, hardware, 1, 0)
    for layer in workload.weighted:
        passes = [op.grid for op in plan.operations() if isinstance(op, Mvm) and op.layer.name == layer.name]
        assert sum((grid.columns for grid in passes), ()) == cut(layer, hardware).columns
        assert crossbar_tiling(layer, 8, hardware).n_blocks == sum(grid.crossbars for grid in passes)
