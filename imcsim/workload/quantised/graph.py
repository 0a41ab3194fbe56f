"""Say what a quantised network needs of a file format: its weighted layers, and the rest in parts for the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.workload.quantised.layers import IntegerLayer

Array = NDArray[Any]
Tensor = Hashable  # a name (ONNX) or a number (TensorFlow Lite)
Known = Mapping[Tensor, Array]
DigitalPart = Callable[[Known], Array]
"""The digital operators in front of one tensor, as the library computes them: its value from tensors that are known."""


@dataclass(frozen=True)
class Site:
    """Describe a layer in its graph: the integer tensor that it reads, and the tensor that it gives."""

    layer: IntegerLayer
    reads: Tensor
    gives: Tensor


class QuantisedGraph(ABC):
    """Describe a model of one format. Tensors keep the layout of the format; layers take channels first."""

    where: str
    sites: list[Site]  # in execution order
    input: Tensor
    output: Tensor
    image_shape: tuple[int, ...]  # of one input, channels first; 0 where any size will do
    input_dtype: np.dtype[Any]

    @abstractmethod
    def digital_part(self, gives: Tensor, known: Collection[Tensor]) -> DigitalPart:
        """Return the operators between known tensors and one that is not."""

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Say whether images of a shape (without their number) fit the input."""
        sizes = self.image_shape
        return len(sizes) == len(shape) and all(stated in (0, size) for stated, size in zip(sizes, shape, strict=True))

    def prepared(self, images: Array) -> Array:
        """Return images (n, ...) as the input tensor."""
        return images

    def channels_first(self, site: Site, x: Array) -> Array:
        """Return what a layer reads, (n, channels, *size) or (n, features)."""
        return x

    def own_layout(self, site: Site, y: Array) -> Array:
        """Return what a layer gives, as the tensor of the format."""
        return y


def ancestors(
    nodes: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]], tensor: Tensor, known: Collection[Tensor]
) -> tuple[list[int], list[Tensor]]:
    """Return the nodes between known tensors and a wanted one, in execution order, and the known tensors they read.

    ``nodes``: what each reads and gives.
    """
    makers = {name: number for number, (_, gives) in enumerate(nodes) for name in gives}
    wanted, taken = [tensor], set[int]()
    needs = dict[Tensor, None]()  # a set that keeps its order
    while wanted:
        name = wanted.pop()
        if name in known:
            needs[name] = None
        elif name in makers and makers[name] not in taken:
            taken.add(makers[name])
            wanted.extend(nodes[makers[name]][0])
    return sorted(taken), list(needs)
