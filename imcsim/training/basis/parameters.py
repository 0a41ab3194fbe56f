"""Train a basis and its coefficients as parameters: real numbers that are rounded wherever they are used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from imcsim.mapping.basis.coefficients import levels_of
from imcsim.mapping.basis.fitted import FittedBasis, LayerCoefficients
from imcsim.mapping.basis.targets import Floats
from imcsim.mapping.tiling import Tiling
from imcsim.training.basis.graph import Weights
from imcsim.workload.quantised import IntegerLayer


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """Return the rounded numbers, with the gradient of the exact ones."""
    return x + (rounded - x).detach()


class CombinedLayer(nn.Module):
    """Hold the coefficients of one layer, and the scale and bias of its channels.

    ``coefficients``: (segments, vectors, channels of a segment) in units of a level. ``chosen``: which of them are
    used; the others are 0, with the gradient that they would have.
    """

    chosen: Tensor

    def __init__(self, layer: IntegerLayer, start: LayerCoefficients, length: int, levels: Floats) -> None:
        super().__init__()
        self.layer, self.levels = layer, torch.tensor(levels, dtype=torch.float32)
        self.tiling = Tiling.of(layer, length)
        self.width = self.tiling.channels_per_block
        self.coefficients = nn.Parameter(torch.tensor(start.values, dtype=torch.float32))
        self.register_buffer("chosen", self.coefficients.detach() != 0)
        scale = np.where(start.scale > 0, start.scale, np.float32(1))
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        unit = np.broadcast_to(layer.scale, layer.channels).astype(np.float32)
        self.weight_unit = torch.tensor(unit / np.float32(layer.input.scale))
        bias = unit * (layer.bias + start.bias)
        self.bias_unit = torch.tensor(unit)
        self.bias_step = float(np.sqrt(np.mean(np.square(bias)))) or float(unit.mean()) * 127
        self.bias = nn.Parameter(torch.tensor(bias / self.bias_step, dtype=torch.float32))

    def forward(self, elements: Tensor) -> Weights:
        """Return weights and biases of the layer in the network's own numbers."""
        used, n_sets = self.rounded(), self.tiling.group_sets
        values = used.reshape(n_sets, -1, *used.shape[1:])
        rows = torch.einsum("lm,stmc->sctl", elements, values).reshape(n_sets * self.width, -1)
        scale = self._per_kernel(self.log_scale.exp() * self.weight_unit)
        weight = rows[:, : self.tiling.shared * self.layer.rows] * scale[:, None]
        kernel = self.layer.sliding.kernel if self.layer.sliding else ()
        shaped = weight.reshape(len(weight), -1, *kernel)
        return Weights(shaped, self.bias * self.bias_step, n_sets, self.layer.channels)

    def rounded(self) -> Tensor:
        """Return coefficients as integers; those that are not chosen are 0, and have the gradient of their integer."""
        sizes = self.coefficients.abs()
        nearest = self.levels[torch.bucketize(sizes, (self.levels[1:] + self.levels[:-1]) / 2)]
        return straight_through(self.coefficients, nearest * self.coefficients.sign() * self.chosen)

    def _per_kernel(self, values: Tensor) -> Tensor:
        missing = self.tiling.group_sets * self.width - len(values)
        return nn.functional.pad(values, [0, missing]) if missing else values

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Keep what is not chosen at 0, and what is chosen within the levels."""
        self.coefficients.mul_(self.chosen).clamp_(-self.levels[-1], self.levels[-1])

    @torch.no_grad()
    def as_integers(self) -> LayerCoefficients:
        """Return what a file holds."""
        values = self.rounded().numpy().astype(np.int16)
        total = np.rint((self.bias * self.bias_step / self.bias_unit).numpy().astype(np.float64)).astype(np.int64)
        bias = (total - self.layer.bias).astype(np.int32)
        return LayerCoefficients(values, self.log_scale.exp().numpy(), bias)


class TrainableBasis(nn.Module):
    """Hold the elements of a basis, (length, vectors), and the layers that are combined from them.

    ``noise_frac``: standard deviation of an element, as a fraction of the largest that its bits hold; one draw serves
    all layers, as they share the cells.
    """

    def __init__(self, basis: FittedBasis, layers: Mapping[str, IntegerLayer], noise_frac: float) -> None:
        super().__init__()
        self.names, self.noise_frac = list(basis.layers), noise_frac
        self.most = float((1 << (basis.basis_bits - 1)) - 1)
        self.elements = nn.Parameter(torch.tensor(basis.elements, dtype=torch.float32))
        levels, length = levels_of(kind_of(basis), basis.coeff_bits), len(basis.elements)
        self.layers = [CombinedLayer(layers[name], basis.layers[name], length, levels) for name in self.names]
        self.registered = nn.ModuleList(self.layers)

    def forward(self, noise: torch.Generator | None = None) -> dict[str, Weights]:
        """Return the weights of all layers by name; with a generator, of a basis with errors."""
        elements = straight_through(self.elements, self.elements.round().clamp(-self.most, self.most))
        if noise is not None and self.noise_frac:
            elements = elements + torch.randn(elements.shape, generator=noise) * (self.noise_frac * self.most)
        return {name: layer(elements) for name, layer in zip(self.names, self.layers, strict=True)}

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Keep elements and coefficients within what their bits hold."""
        self.elements.clamp_(-self.most, self.most)
        for layer in self.layers:
            layer.keep_in_range()

    @torch.no_grad()
    def as_integers(self) -> tuple[np.ndarray, dict[str, LayerCoefficients]]:
        """Return elements and coefficients as a file holds them."""
        elements = self.elements.round().clamp(-self.most, self.most).numpy().astype(np.int64)
        return elements, {name: layer.as_integers() for name, layer in zip(self.names, self.layers, strict=True)}


def kind_of(basis: FittedBasis) -> str:
    """Return the kind of its coefficients: 'uniform' or 'power-of-two', as the fit was asked for."""
    return str(basis.made_on.get("options", {}).get("coefficients", "uniform"))
