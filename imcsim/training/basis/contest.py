"""Say how much kernels that share a time slot want the same columns, and choose which columns they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imcsim.training.basis.parameters import CombinedLayer
from imcsim.util.errors import ImcsimError


@dataclass(frozen=True)
class Contest:
    """Punish kernels that share a slot of exclusive routing and want the same columns.

    Neighbouring kernels of a segment, ``together`` at a time, share a slot if no column is wanted twice. The term is
    ``weight`` times the mean over all such pairs of sum_m |c_im| |c_jm|, magnitudes as fractions of the largest. (Our
    design: of the paper's term only the name is known.)
    """

    weight: float
    together: int

    @staticmethod
    def of(weight: float, lines: int, nonzeros: int, vectors: int) -> Contest:
        """Let as many kernels compete as there are output lines and disjoint supports.

        Raises ImcsimError where that is one.
        """
        together = min(lines, vectors // nonzeros)
        if weight and together < 2:
            problem = f"{nonzeros} of {vectors} vectors leave no room for a second kernel in a time slot"
            raise ImcsimError("--contest", problem, "use fewer --nonzeros when you fit the basis, or leave it out")
        return Contest(weight, max(1, together))

    def term(self, layers: Sequence[CombinedLayer]) -> Tensor:
        """Return the addition to the loss."""
        overlaps = [self._overlap(layer) for layer in layers]
        total = torch.stack([overlap for overlap, _ in overlaps]).sum()
        return self.weight * total / max(1, sum(pairs for _, pairs in overlaps))

    def _overlap(self, layer: CombinedLayer) -> tuple[Tensor, int]:
        """Return the overlap summed over the pairs of a layer, and their number."""
        sizes = self._grouped(layer)
        squares = sizes.square().sum()
        return (sizes.sum(dim=3).square().sum() - squares) / 2, self._pairs(layer)

    def _pairs(self, layer: CombinedLayer) -> int:
        full_slots, left_over = divmod(layer.width, self.together)
        ordered_pairs = full_slots * self.together * (self.together - 1) + left_over * (left_over - 1)
        return len(layer.coefficients) * ordered_pairs // 2

    def _grouped(self, layer: CombinedLayer) -> Tensor:
        """Return the magnitudes as (segments, vectors, slots, kernels of a slot)."""
        sizes = layer.rounded().abs() / layer.levels[-1]
        padded = functional.pad(sizes, [0, -layer.width % self.together])
        return padded.reshape(*padded.shape[:2], -1, self.together)

    @torch.no_grad()
    def pressure(self, layers: Sequence[CombinedLayer]) -> list[Tensor]:
        """Return, for each layer, by how much the term grows with the magnitude of every coefficient."""
        scale = self.weight / max(1, sum(map(self._pairs, layers)))
        return [self._pressure(layer) * scale for layer in layers]

    def _pressure(self, layer: CombinedLayer) -> Tensor:
        sizes = self._grouped(layer)
        others = sizes.sum(dim=3, keepdim=True) - sizes
        return others.reshape(*others.shape[:2], -1)[:, :, : layer.width] / layer.levels[-1]


@torch.no_grad()
def choose_anew(layer: CombinedLayer, nonzeros: int, pull: Tensor, pressure: Tensor) -> None:
    """Give up coefficients that training brought to 0 for those that would help most.

    ``pull``: gradients of the loss, averaged over batches. A coefficient that is 0 leaves it where its gradient is
    larger than the pressure of the contest; it begins at 0, so that nothing changes before it has grown.
    Source: the growth of RigL (Evci and others, ICML 2020), with the pressure added.
    """
    kept = layer.rounded() != 0
    wish = torch.where(kept, -torch.inf, pull.abs() - pressure)
    grown = (_rank(wish) < nonzeros - kept.sum(dim=1, keepdim=True)) & (wish > 0)
    layer.chosen.copy_(kept | grown)
    layer.coefficients.mul_(kept)


def _rank(scores: Tensor) -> Tensor:
    """Rank every basis vector among those of its kernel segment, 0 for the largest; equal ones keep their order."""
    return scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
