"""A basis and its coefficients as parameters: real numbers that are rounded wherever they are used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from imcsim.mapping.basis.coefficients import levels_of
from imcsim.mapping.basis.fitted import FittedBasis, LayerCoefficients
from imcsim.mapping.basis.targets import Floats
from imcsim.training.basis.graph import Weights
from imcsim.workload.quantised import IntegerLayer


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """The rounded numbers, with the gradient of the exact ones."""
    return x + (rounded - x).detach()


class CombinedLayer(nn.Module):
    """The coefficients of one layer, and the scale and bias of its channels.

    ``coefficients``: (segments, vectors, channels of a segment) in units of a level. ``chosen``: which of them are
    used; the others are 0, with the gradient that they would have.
    """

    chosen: Tensor

    def __init__(self, layer: IntegerLayer, own: LayerCoefficients, length: int, levels: Floats) -> None:
        super().__init__()
        self.layer, self.levels = layer, torch.tensor(levels, dtype=torch.float32)
        self.together = min(layer.groups, max(1, length // layer.rows))
        self.groups = -(-layer.groups // self.together)
        self.coefficients = nn.Parameter(torch.tensor(own.values, dtype=torch.float32))
        self.register_buffer("chosen", self.coefficients.detach() != 0)
        self.width = self.coefficients.shape[2]
        scale = np.where(own.scale > 0, own.scale, np.float32(1))
        self.log_scale = nn.Parameter(torch.tensor(scale).log())
        unit = np.broadcast_to(layer.scale, layer.channels).astype(np.float32)
        self.weight_unit = torch.tensor(unit / np.float32(layer.input.scale))
        bias = unit * (layer.bias + own.bias)
        self.bias_unit = torch.tensor(unit)
        self.bias_step = float(np.sqrt(np.mean(np.square(bias)))) or float(unit.mean()) * 127
        self.bias = nn.Parameter(torch.tensor(bias / self.bias_step, dtype=torch.float32))

    def forward(self, elements: Tensor) -> Weights:
        """Weights and biases of the layer in the network's own numbers."""
        used = self.rounded()
        blocks = used.reshape(self.groups, -1, *used.shape[1:])
        rows = torch.einsum("lm,btmc->bctl", elements, blocks).reshape(self.groups * self.width, -1)
        scale = self._per_kernel(self.log_scale.exp() * self.weight_unit)
        weight = rows[:, : self.together * self.layer.rows] * scale[:, None]
        kernel = self.layer.sliding.kernel if self.layer.sliding else ()
        shaped = weight.reshape(len(weight), -1, *kernel)
        return Weights(shaped, self.bias * self.bias_step, self.groups, self.layer.channels)

    def rounded(self) -> Tensor:
        """Coefficients as integers; those that are not chosen are 0, and have the gradient of their integer."""
        sizes = self.coefficients.abs()
        nearest = self.levels[torch.bucketize(sizes, (self.levels[1:] + self.levels[:-1]) / 2)]
        return straight_through(self.coefficients, nearest * self.coefficients.sign() * self.chosen)

    def _per_kernel(self, values: Tensor) -> Tensor:
        missing = self.groups * self.width - len(values)
        return nn.functional.pad(values, [0, missing]) if missing else values

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """What is not chosen stays 0, what is chosen within the levels."""
        self.coefficients.mul_(self.chosen).clamp_(-self.levels[-1], self.levels[-1])

    @torch.no_grad()
    def as_integers(self) -> LayerCoefficients:
        """What a file holds."""
        values = self.rounded().numpy().astype(np.int16)
        total = np.rint((self.bias * self.bias_step / self.bias_unit).numpy().astype(np.float64)).astype(np.int64)
        bias = (total - self.layer.bias).astype(np.int32)
        return LayerCoefficients(values, self.log_scale.exp().numpy(), bias)


class TrainableBasis(nn.Module):
    """The elements of a basis, (length, vectors), and the layers that are combined from them.

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
        """The weights of all layers by name; with a generator, of a basis with errors."""
        elements = straight_through(self.elements, self.elements.round().clamp(-self.most, self.most))
        if noise is not None and self.noise_frac:
            elements = elements + torch.randn(elements.shape, generator=noise) * (self.noise_frac * self.most)
        return {name: layer(elements) for name, layer in zip(self.names, self.layers, strict=True)}

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Elements and coefficients within what their bits hold."""
        self.elements.clamp_(-self.most, self.most)
        for layer in self.layers:
            layer.keep_in_range()

    @torch.no_grad()
    def as_integers(self) -> tuple[np.ndarray, dict[str, LayerCoefficients]]:
        """Elements and coefficients as a file holds them."""
        elements = self.elements.round().clamp(-self.most, self.most).numpy().astype(np.int64)
        return elements, {name: layer.as_integers() for name, layer in zip(self.names, self.layers, strict=True)}


def kind_of(basis: FittedBasis) -> str:
    """Of its coefficients: 'uniform' or 'power-of-two', as the fit was asked for."""
    return str(basis.made_on.get("options", {}).get("coefficients", "uniform"))
