"""Tabulate partial sums: what four rows contribute to a column for each of the 16 patterns of four input bits.

Rows are taken four at a time, a nibble, inside one wordline group. Columns are taken ``LANES`` at a time, a block whose
tables stay in cache; a block's column sums are then one table row per nibble, added lane by lane in registers.
Entries are relative to the column's least partial sum, so they are never negative; ``base`` holds what is missing.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numpy.typing import NDArray

from imcsim.util.compiling import cgutils, compiled, inlined, intrinsic
from imcsim.util.kernels.counter_noise import LANES

ONE_OF_EACH, GATHER = np.uint64(0x0001000100010001), np.uint64(1 << 48 | 1 << 33 | 1 << 18 | 1 << 3)
TOP, NIBBLE = np.uint64(48), np.uint64(15)

Ints: TypeAlias = NDArray[np.int32]
Inputs: TypeAlias = NDArray[np.uint16]
Entries: TypeAlias = NDArray[np.uint16] | NDArray[np.uint32]


@compiled
def tabulate(cells: Ints, group_rows: int, entries: Entries, base: Ints) -> None:
    """Fill the tables, all zero before, of ``cells`` (rows, columns).

    ``entries``: (blocks, nibbles, 16, LANES); ``base``: (blocks, wordline groups, LANES).
    """
    n_rows, n_columns = cells.shape
    nibbles = (group_rows + 3) // 4
    for nibble in range(entries.shape[1]):
        group = nibble // nibbles
        first = group * group_rows + nibble % nibbles * 4
        last = min(first + 4, (group + 1) * group_rows, n_rows)
        for column in range(n_columns):
            block, lane = column // LANES, column % LANES
            least = 0
            for row in range(first, last):
                least += min(cells[row, column], 0)
            base[block, group, lane] += least
            entries[block, nibble, 0, lane] = -least
            for row in range(first, last):
                bit = 1 << (row - first)
                for pattern in range(bit):
                    entries[block, nibble, bit + pattern, lane] = (
                        entries[block, nibble, pattern, lane] + cells[row, column]
                    )


@inlined
def select(inputs: Inputs, group_rows: int, rows: Inputs) -> None:
    """Fill ``rows`` with the table row, counted over all nibbles, that each bit of each four inputs selects.

    ``inputs``: (vectors, rows); ``rows``: (vectors, bits, nibbles).
    """
    n_rows, nibbles = inputs.shape[1], (group_rows + 3) // 4
    fours = np.zeros(rows.shape[2], np.uint64)
    for vector in range(inputs.shape[0]):
        for nibble in range(rows.shape[2]):
            group = nibble // nibbles
            first = group * group_rows + nibble % nibbles * 4
            last = min(first + 4, (group + 1) * group_rows, n_rows)
            four = np.uint64(0)
            for row in range(first, last):
                four |= np.uint64(inputs[vector, np.uint64(row)]) << np.uint64(16 * (row - first))
            fours[nibble] = four
        for bit in range(rows.shape[1]):
            for nibble in range(rows.shape[2]):  # the inner loop, so that nibbles are vectorised
                spread = (fours[nibble] >> np.uint64(bit)) & ONE_OF_EACH
                rows[vector, bit, nibble] = np.uint64(16 * nibble) | (((spread * GATHER) >> TOP) & NIBBLE)


@intrinsic
def shifted(context, x, by):  # type: ignore[no-untyped-def]
    """Return ``x >> by`` of an int32 that is not negative, in 32 bits, where numba would take 64."""
    return types.int32(types.int32, types.int32), lambda context, builder, signature, values: builder.lshr(*values)


@intrinsic
def add_rows(context, sums, to, entries, at, rows, first, others, n_rows, shift):  # type: ignore[no-untyped-def]
    """Add table rows: ``sums[to + lane] += (sum over n < n_rows of entries[at + LANES * row(n) + lane]) << shift``.

    Here ``row(n) = rows[first + n] & rows[others + n]``, and the sum over n is taken in the entries' own width. To the
    compiler the lanes are one vector, which stays in registers; in a loop over lanes each addition went through memory.
    """
    signature = types.void(sums, types.int64, entries, types.int64, rows, *[types.int64] * 4)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = [cgutils.create_struct_proxy(signature.args[i])(context, builder, values[i]).data for i in (0, 2, 4)]
        _, to, _, at, _, first, others, n_rows, shift = values
        word, size = ir.IntType(64), signature.args[2].dtype.bitwidth
        wide, narrow = (ir.VectorType(ir.IntType(n), LANES) for n in (32, size))
        total = cgutils.alloca_once_value(builder, ir.Constant(narrow, None))
        with cgutils.for_range(builder, n_rows, intp=word) as loop:
            pair = [builder.load(builder.gep(arrays[2], [builder.add(start, loop.index)])) for start in (first, others)]
            row = builder.mul(builder.zext(builder.and_(*pair), word), ir.Constant(word, LANES))
            entry = builder.gep(arrays[1], [builder.add(at, row)])
            lanes = builder.load(builder.bitcast(entry, narrow.as_pointer()), align=size // 8)
            builder.store(builder.add(builder.load(total), lanes), total)
        place = builder.bitcast(builder.gep(arrays[0], [to]), wide.as_pointer())
        added = builder.load(total) if size == 32 else builder.zext(builder.load(total), wide)
        unset, lane_0 = ir.Constant(wide, ir.Undefined), ir.IntType(32)(0)
        alike = builder.insert_element(unset, builder.trunc(shift, wide.element), lane_0)
        shifts = builder.shuffle_vector(alike, alike, ir.Constant(wide, None))
        builder.store(builder.add(builder.load(place, align=4), builder.shl(added, shifts)), place, align=4)
        return context.get_dummy_value()

    return signature, generate
