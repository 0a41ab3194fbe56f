"""Compute convolutions and linear layers on hybrid cells, and put them into a network with one call.

Forward and backward each read all cells anew. What goes into a crossbar and what comes out of it passes converters,
one crossbar at a time; the outer product of both is digital.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from imcsim.training.hic.options import HybridOptions
from imcsim.training.hic.pulse_trains import outer
from imcsim.training.hic.weights import HybridWeights
from imcsim.training.kernels import hybrid as kernels
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError

Reader = Callable[[int], NDArray[Any]]
"""Gives the weights as one read shows them, by the number of the read."""
FOLLOWS = 0.1  # share of a batch in the running ranges of converters, as is usual for normalisations
LEAST_RANGE = 1e-12
DIGITAL = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.PReLU, nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Softmax, nn.LogSoftmax,
    nn.ZeroPad2d, nn.Unflatten,
)  # fmt: skip


class HybridLayer(nn.Module):
    """Compute a Conv2d or Linear whose weights are cells; ``weight`` holds what the last read showed.

    ``input_range`` and ``output_range``: largest absolute value of a batch, on average over the last ones.
    """

    input_range: Tensor
    output_range: Tensor

    def __init__(self, name: str, layer: nn.Conv2d | nn.Linear, options: HybridOptions, seed: int) -> None:
        super().__init__()
        self.name, self.options, self.seed, self.kind = name, options, seed, type(layer).__name__
        linear = isinstance(layer, nn.Linear)
        self.geometry: Any = (
            {} if linear else {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
        )
        self.groups: int = getattr(layer, "groups", 1)
        initial = layer.weight.detach().numpy()
        self.cells = HybridWeights.program(name, initial, options, seed)
        self.weight = nn.Parameter(torch.from_numpy(initial.copy()))
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("input_range", torch.zeros(()))
        self.register_buffer("output_range", torch.zeros(()))
        self.reads = 0
        self.reader: Reader = self.cells.reader(0.0)
        self.correction: Tensor | Literal["none"] = "none"  # digital factors for the outputs, one or one for each

    def extra_repr(self) -> str:
        """Say which layer this is, as PyTorch prints modules."""
        return f"{self.kind} {tuple(self.weight.shape)} on cells"

    def set_time(self, now_s: float) -> None:
        """Let the cells drift to a time."""
        self.reader = self.cells.reader(now_s)

    def read(self) -> Tensor:
        """Read all cells anew."""
        self.reads += 1
        return torch.from_numpy(self.reader(self.reads))

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the layer that this one replaces computes."""
        vectors = x if self.geometry else x.reshape(-1, x.shape[-1])
        y: Tensor = _Product.apply(vectors, self.weight, self)  # type: ignore[no-untyped-call]
        if not isinstance(self.correction, str):
            y = y * self.correction.reshape(-1, *(1,) * (y.ndim - 2))
        if self.bias is not None:
            y = y + self.bias.reshape(-1, *(1,) * (y.ndim - 2))
        return y if self.geometry else y.reshape(*x.shape[:-1], -1)

    # -- converters ----------------------------------------------------------------------------------------------------

    @property
    def most(self) -> int:
        """Return the largest code of a converter."""
        return (1 << (self.options.converter_bits - 1)) - 1

    def follow_range(self, buffer: Tensor, parts: Sequence[Tensor]) -> float:
        """Return the range of converters, which follows what they see while the network is trained."""
        if self.training or not buffer:
            seen = max(largest(part) for part in parts)
            buffer.fill_(seen if not buffer else (1 - FOLLOWS) * float(buffer) + FOLLOWS * seen)
        return float(buffer)

    def converted(self, x: Tensor, full_range: float, stochastic: str = "") -> Tensor:
        """Return ``x`` in a converter's codes; where ``stochastic`` names a stream, rounded by chance from it."""
        result, flat = torch.empty_like(x), x.contiguous().view(-1)
        purpose = (stochastic, self.reads) if stochastic else ("none", 0)
        key = (
            np.uint64(random_streams.rng(self.seed, self.name, *purpose).integers(1 << 63))
            if stochastic
            else np.uint64(0)
        )
        step = max(full_range, LEAST_RANGE) / self.most
        kernels.quantise(flat.numpy(), step, self.most, key, bool(stochastic), result.view(-1).numpy())
        return result

    # -- the product, forwards and backwards, crossbar by crossbar -----------------------------------------------------

    def forwards(self, x: Tensor, weight: Tensor) -> Iterator[Tensor]:
        """Return the sums of each row of crossbars: inputs are cut where the wordlines end."""
        if not self.geometry:
            size = self.options.rows
            for at in range(0, weight.shape[1], size):
                yield x[:, at : at + size] @ weight[:, at : at + size].T
        elif self.groups > 1:
            yield functional.conv2d(x, weight, groups=self.groups, **self.geometry)
        else:
            size = max(1, self.options.rows // weight[0, 0].numel())
            for at in range(0, weight.shape[1], size):
                yield functional.conv2d(x[:, at : at + size], weight[:, at : at + size], **self.geometry)

    def backwards(self, dy: Tensor, weight: Tensor, shape: torch.Size) -> Iterator[Tensor]:
        """Return the transposed sums: output errors are cut where the bitlines end."""
        size = self.options.columns
        if self.groups > 1:
            size = len(weight)
        for at in range(0, len(weight), size):
            part, weights = dy[:, at : at + size], weight[at : at + size]
            if not self.geometry:
                yield part @ weights
            else:
                yield conv2d_input(shape, weights, part, groups=self.groups, **self.geometry)  # type: ignore[no-untyped-call]

    def outer(self, x: Tensor, dy: Tensor) -> Tensor:
        """Return the gradient of the weights, summed over batch and positions."""
        if self.options.outer == "digital":
            return self._outer(x, dy)
        seed = int(random_streams.rng(self.seed, self.name, "pulse trains", self.reads).integers(1 << 62))
        return outer(x, dy, self._outer, self.options.train_length, torch.Generator().manual_seed(seed))

    def _outer(self, x: Tensor, dy: Tensor) -> Tensor:
        if not self.geometry:
            return dy.T @ x
        shape = self.weight.shape
        gradient: Tensor = conv2d_weight(x, shape, dy, groups=self.groups, **self.geometry)  # type: ignore[no-untyped-call]
        return gradient


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: HybridLayer) -> Tensor:
        seen = layer.read()
        with torch.no_grad():
            weight.copy_(seen)
        x = layer.converted(x, layer.follow_range(layer.input_range, [x]))
        sums = list(layer.forwards(x, seen))
        full_range = layer.follow_range(layer.output_range, sums)
        ctx.layer = layer
        ctx.save_for_backward(x)
        return sum_digitally(layer.converted(part, full_range) for part in sums)

    @staticmethod
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (dy,), (x,), layer = errors, ctx.saved_tensors, ctx.layer
        seen = layer.read()
        dy = layer.converted(dy, largest(dy), "error")
        dx = None
        if ctx.needs_input_grad[0]:
            parts = list(layer.backwards(dy, seen, x.shape))
            dx = sum_digitally(layer.converted(part, largest(part)) for part in parts)
        return dx, layer.outer(x, dy), None


def largest(x: Tensor) -> float:
    """Return the largest absolute value."""
    least, most = torch.aminmax(x)
    return max(-float(least), float(most))


def sum_digitally(parts: Iterator[Tensor]) -> Tensor:
    """Return the digital sum of what several crossbars gave."""
    total = next(parts)
    for part in parts:
        total = total.add_(part)
    return total


def convert(network: nn.Module, options: HybridOptions, seed: int = 0) -> nn.Module:
    """Return a copy of a network whose Conv2d and Linear layers keep their weights in cells.

    Raises ImcsimError for layers with weights that cannot be converted, by name.
    """
    result = copy.deepcopy(network)
    converted: dict[nn.Module, HybridLayer] = {}  # one module may have several names
    for name, layer in list(result.named_modules(remove_duplicate=False)):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _check(name, layer)
            parent, _, leaf = name.rpartition(".")
            converted[layer] = converted.get(layer) or HybridLayer(name, layer, options, seed)
            setattr(result.get_submodule(parent), leaf, converted[layer])
        elif not isinstance(layer, DIGITAL) and any(True for _ in layer.parameters(recurse=False)):
            problem = f"is a {type(layer).__name__}, whose weights cannot be kept in cells"
            hint = "build the network of Conv2d, Linear, BatchNorm, ReLU, pooling and additions"
            raise ImcsimError(f"layer '{name}'", problem, hint)
    if not hybrid_layers(result):
        raise ImcsimError("network", "has no Conv2d and no Linear layer", "there is nothing to keep in cells")
    return result


def _check(name: str, layer: nn.Conv2d | nn.Linear) -> None:
    if isinstance(layer.weight, nn.UninitializedParameter):
        raise ImcsimError(f"layer '{name}'", "has no weights yet", "give the network an image before")
    if isinstance(layer, nn.Conv2d) and (isinstance(layer.padding, str) or layer.padding_mode != "zeros"):
        raise ImcsimError(
            f"layer '{name}'", f"pads with {layer.padding_mode} '{layer.padding}'", "pad by numbers, with 0"
        )


def hybrid_layers(network: nn.Module) -> list[HybridLayer]:
    """Return the layers on cells, in order."""
    return [layer for layer in network.modules() if isinstance(layer, HybridLayer)]
