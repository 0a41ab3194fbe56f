"""The closed forms of each scheme for one layer, written down a second time and as plainly as can be.

K, N, P: im2col rows, outputs, positions; R, C, X: rows, columns, number of crossbars; c_w columns per weight; t_in
input phases; tau cycles per phase; B the batch. Everything in clock cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Layer:
    """One layer on crossbars of 128x128 with 8-bit weights and inputs, 2 bits per cell, differential."""

    k: int
    n: int
    p: int
    r: int = 128
    c: int = 128
    c_w: int = 8
    t_in: int = 8
    t_xb: int = 1
    conversion_cycles: float = 10 / 128

    @property
    def t_r(self) -> int:
        return ceil(self.k / self.r)

    @property
    def weights_across(self) -> int:
        """Whole weights side by side; what is left over of the columns stays empty."""
        return self.c // self.c_w

    @property
    def crossbars(self) -> int:
        return self.t_r * ceil(self.n / self.weights_across)

    @property
    def tau(self) -> int:
        used = min(self.weights_across, self.n) * self.c_w
        return max(self.t_xb, ceil(round(used * self.conversion_cycles, 9)))

    @property
    def fill(self) -> int:
        return self.tau + 2

    @property
    def conversions(self) -> int:
        return self.p * self.t_r * self.n * self.c_w * self.t_in

    @property
    def cells(self) -> int:
        return self.k * self.n * self.c_w

    def static_cycles(self, batch: int, copies: int) -> int:
        return ceil(batch * self.p / copies) * self.t_in * self.tau + self.fill

    def reprogram_cycles(self, batch: int, crossbars: int, write: int) -> int:
        """R0, all crossbars written at once."""
        if self.crossbars <= crossbars:
            copies = min(crossbars // self.crossbars, batch * self.p)
            return write + self.static_cycles(batch, copies)
        passes = ceil(self.crossbars / crossbars)
        return passes * (write + self.static_cycles(batch, 1))

    def segments(self, length: int = 128) -> int:
        return ceil(self.k / length)

    def basis_copies(self, crossbars: int, vectors: int = 128) -> int:
        return crossbars // ceil(vectors / self.weights_across)

    def broadcast_cycles(self, batch: int, crossbars: int, vectors: int = 128) -> int:
        """Variant B, digital units ideal."""
        bars = ceil(vectors / self.weights_across)
        tau = max(self.t_xb, ceil(round(ceil(vectors * self.c_w / bars) * self.conversion_cycles, 9)))
        slots = ceil(batch * self.p * self.segments() / self.basis_copies(crossbars, vectors))
        return slots * self.t_in * tau + tau + 2

    def broadcast_conversions(self, vectors: int = 128) -> int:
        return self.p * self.segments() * self.t_in * vectors * self.c_w

    def broadcast_macs(self, nonzeros: int) -> int:
        return self.p * self.segments() * self.n * nonzeros

    def exclusive_conversions(self, coeff_bits: int) -> int:
        return self.p * self.segments() * self.t_in * self.n * coeff_bits * self.c_w

    def coefficient_bits(self, nonzeros: int, coeff_bits: int, vectors: int = 128) -> int:
        return self.segments() * self.n * nonzeros * (coeff_bits + 1 + (vectors - 1).bit_length())
