"""A small builder for traces of networks that are defined here; batch normalisation counts as folded."""

from __future__ import annotations

from math import prod
from typing import Any

from imcsim.workload.workload import (
    Activation,
    Concat,
    Conv,
    Elementwise,
    GlobalPool,
    Input,
    LayerBase,
    Linear,
    MatMul,
    Normalisation,
    Pool,
    Reshape,
    Slice,
    Softmax,
    Window,
    Workload,
)

Shape = tuple[int, ...]


class Network:
    """Adds layers one after the other; every method returns the name of its layer, to be read by later ones."""

    def __init__(self) -> None:
        self.layers: dict[str, LayerBase] = {}

    def workload(self, name: str, description: str, source: str) -> Workload:
        workload = Workload(name=name, description=description, source=source, layers=tuple(self.layers.values()))
        workload.check()
        return workload

    def shape(self, name: str) -> Shape:
        return self.layers[name].output_shape

    def _add(self, cls: type[LayerBase], name: str, inputs: tuple[str, ...], shape: Shape, **fields: Any) -> str:
        if name in self.layers:
            raise ValueError(f"two layers are called '{name}'")
        self.layers[name] = cls(name=name, inputs=inputs, output_shape=shape, **fields)
        return name

    def input(self, name: str, *shape: int) -> str:
        return self._add(Input, name, (), shape)

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> str:
        """A square window; ``padding`` is half the kernel where it is not given."""
        window = _square(kernel, stride, kernel // 2 if padding is None else padding)
        size = window.output_size(self.shape(source)[1:])
        in_channels = self.shape(source)[0]
        return self._add(
            Conv, name, (source,), (channels, *size), in_channels=in_channels, window=window, groups=groups
        )

    def linear(self, name: str, source: str, features: int) -> str:
        shape = self.shape(source)
        return self._add(Linear, name, (source,), (features, *shape[1:]), in_channels=shape[0])

    def matmul(self, name: str, left: str, right: str, heads: int, columns: int) -> str:
        """(heads * inner, positions) by one matrix (inner, columns) per head."""
        features, positions = self.shape(left)
        return self._add(
            MatMul, name, (left, right), (heads * columns, positions), heads=heads, inner=features // heads
        )

    def pool(self, name: str, source: str, mode: str, kernel: int, stride: int, padding: int = 0) -> str:
        window = _square(kernel, stride, padding)
        channels, *size = self.shape(source)
        return self._add(Pool, name, (source,), (channels, *window.output_size(tuple(size))), mode=mode, window=window)

    def global_pool(self, name: str, source: str) -> str:
        return self._add(GlobalPool, name, (source,), (self.shape(source)[0],), mode="avg")

    def activation(self, name: str, source: str, function: str = "relu") -> str:
        return self._add(Activation, name, (source,), self.shape(source), function=function)

    def norm(self, name: str, source: str, function: str) -> str:
        return self._add(Normalisation, name, (source,), self.shape(source), function=function)

    def softmax(self, name: str, source: str) -> str:
        return self._add(Softmax, name, (source,), self.shape(source))

    def add(self, name: str, *sources: str) -> str:
        """A sum of tensors, or of one tensor and a constant."""
        return self._add(Elementwise, name, sources, self.shape(sources[0]), function="add")

    def scale(self, name: str, source: str) -> str:
        """A product with a constant."""
        return self._add(Elementwise, name, (source,), self.shape(source), function="mul")

    def pad(self, name: str, source: str, channels: int) -> str:
        """Zero channels around the given ones."""
        return self._add(Elementwise, name, (source,), (channels, *self.shape(source)[1:]), function="pad")

    def concat(self, name: str, *sources: str, axis: str = "channel") -> str:
        first = self.shape(sources[0])
        if axis == "channel":
            return self._add(Concat, name, sources, (sum(self.shape(source)[0] for source in sources), *first[1:]))
        positions = sum(prod(self.shape(source)[1:]) for source in sources)
        return self._add(Concat, name, sources, (first[0], positions), axis="position")

    def slice(self, name: str, source: str, *shape: int) -> str:
        return self._add(Slice, name, (source,), shape)

    def reshape(self, name: str, source: str, *shape: int) -> str:
        return self._add(Reshape, name, (source,), shape)


def _square(kernel: int, stride: int, padding: int) -> Window:
    return Window(kernel=(kernel,) * 2, stride=(stride,) * 2, padding=(padding,) * 4, dilation=(1, 1))
