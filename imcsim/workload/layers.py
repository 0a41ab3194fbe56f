"""Describe the kinds of layers in a trace: shapes, bit widths, and how they must fit the layers they read.

Shapes carry no batch dimension and put channels first: (channels, height, width), (channels, length),
(features, tokens), or (features,). *Positions* are everything behind the channels: output pixels or tokens. One
position is one input vector of a crossbar layer.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveInt

from imcsim.util.config import Spec


class Quantisation(Spec):
    """Hold the bits of a tensor, and its scale and zero point, one or one per channel, where they are stated."""

    bits: PositiveInt = 8
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()


class Window(Spec):
    """Describe the sliding window of a convolution or pooling, in one or two spatial dimensions."""

    kernel: tuple[PositiveInt, ...]
    stride: tuple[PositiveInt, ...]
    padding: tuple[NonNegativeInt, ...]  # all begins, then all ends: (top, left, bottom, right) or (left, right)
    dilation: tuple[PositiveInt, ...]
    ceil_mode: bool = False  # round the output size up, as some poolings do

    def output_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the positions per dimension that the window visits on an input of ``size``; 0 if it is too large."""
        return tuple(self._positions(axis, size[axis]) for axis in range(len(self.kernel)))

    def _positions(self, axis: int, size: int) -> int:
        begin, end = self.padding[axis], self.padding[len(self.kernel) + axis]
        stride = self.stride[axis]
        free = size + begin + end - (self.dilation[axis] * (self.kernel[axis] - 1) + 1)
        if free < 0:
            return 0
        steps = -(-free // stride) if self.ceil_mode else free // stride
        starts_behind_input = steps * stride >= size + begin  # a window that would see nothing but end padding
        return steps + (0 if self.ceil_mode and starts_behind_input else 1)


class LayerBase(Spec):
    """Hold what all layers share: a unique name, the layers it reads, its output shape and the bits of its input."""

    n_inputs: ClassVar[int | None] = 1  # layers it reads; None for one or more

    name: Annotated[str, Field(min_length=1)]
    inputs: tuple[str, ...]
    output_shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    input_quant: Quantisation = Quantisation()

    @property
    def channels(self) -> int:
        """Return the number of output channels."""
        return self.output_shape[0]

    @property
    def positions(self) -> int:
        """Return the number of output positions."""
        return prod(self.output_shape[1:])

    @property
    def elements(self) -> int:
        """Return the number of output elements."""
        return prod(self.output_shape)

    def problem(self, inputs: list[LayerBase]) -> str:
        """Say why the layer does not fit the layers it reads, in an empty string where it does."""
        if (self.n_inputs is None and inputs) or len(inputs) == self.n_inputs:
            return self.check_shapes(inputs) if inputs else ""
        words = {None: "at least one layer", 0: "nothing", 1: "one layer"}
        wanted = words.get(self.n_inputs, f"{self.n_inputs} layers")
        return f"a layer of this kind reads {wanted}, but inputs names {len(inputs)}"

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        """Say why the shapes do not fit, in an empty string where they do."""
        return ""


class SameElements(LayerBase):
    """Describe layers that keep the number of elements."""

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        same = self.elements == inputs[0].elements
        return "" if same else f"{inputs[0].elements} elements come in, {self.elements} go out"


class FewerElements(LayerBase):
    """Describe layers that give no more elements than they read."""

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        bigger = self.elements > inputs[0].elements
        return f"{inputs[0].elements} elements cannot give {self.elements}" if bigger else ""


class Input(LayerBase):
    """Describe a tensor that comes from outside: the image, the tokens, a cache of keys and values."""

    n_inputs: ClassVar[int | None] = 0
    kind: Literal["input"] = "input"


class Conv(LayerBase):
    """Describe a convolution with constant weights, 1-D or 2-D, grouped or depthwise."""

    kind: Literal["conv"] = "conv"
    in_channels: PositiveInt
    window: Window
    groups: PositiveInt = 1
    weight_quant: Quantisation = Quantisation()

    @property
    def rows(self) -> int:
        """Return K: inputs of one output, C_in k^2 / groups."""
        return self.in_channels // self.groups * prod(self.window.kernel)

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        if self.in_channels % self.groups or self.channels % self.groups:
            channels = f"{self.in_channels} input and {self.channels} output channels"
            return f"{channels} are no multiples of {self.groups} groups"
        if inputs[0].channels != self.in_channels:
            return f"in_channels is {self.in_channels}, but '{inputs[0].name}' gives {inputs[0].channels}"
        return _window_problem(self.window, inputs[0], self.output_shape)


class Linear(LayerBase):
    """Describe a fully connected layer with constant weights, applied at every position."""

    kind: Literal["linear"] = "linear"
    in_channels: PositiveInt
    weight_quant: Quantisation = Quantisation()

    @property
    def groups(self) -> int:
        """Return 1, for all inputs are of one group."""
        return 1

    @property
    def rows(self) -> int:
        """Return K: input features."""
        return self.in_channels

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        if inputs[0].channels != self.in_channels:
            return f"in_channels is {self.in_channels}, but '{inputs[0].name}' gives {inputs[0].channels}"
        return _same_positions(self, inputs[0])


class MatMul(LayerBase):
    """Describe a product of two activations (attention): ``heads`` times (positions x inner) by (inner x columns)."""

    n_inputs: ClassVar[int | None] = 2
    kind: Literal["matmul"] = "matmul"
    heads: PositiveInt
    inner: PositiveInt

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        if self.channels % self.heads:
            return f"{self.channels} channels are no multiple of {self.heads} heads"
        needed = self.positions * self.heads * self.inner
        if not self._serves(inputs[0].elements, needed):
            return f"its first operand has {inputs[0].elements} elements; heads, inner and positions ask for {needed}"
        needed = self.channels * self.inner
        if not self._serves(inputs[1].elements, needed):
            return f"its second operand has {inputs[1].elements} elements; heads, inner and channels ask for {needed}"
        return ""

    def _serves(self, elements: int, needed: int) -> bool:
        """Say whether an operand holds one matrix per head, or fewer that several heads share."""
        return needed % elements == 0 and self.heads % (needed // elements) == 0


class Pool(LayerBase):
    """Describe a maximum or average over a sliding window."""

    kind: Literal["pool"] = "pool"
    mode: Literal["max", "avg"]
    window: Window

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        if inputs[0].channels != self.channels:
            return f"pooling keeps the channels, but {inputs[0].channels} become {self.channels}"
        return _window_problem(self.window, inputs[0], self.output_shape)


class GlobalPool(LayerBase):
    """Describe a maximum or average over all positions."""

    kind: Literal["global_pool"] = "global_pool"
    mode: Literal["max", "avg"]

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        if self.positions != 1 or inputs[0].channels != self.channels:
            return f"global pooling turns {inputs[0].output_shape} into {inputs[0].channels} channels and one position"
        return ""


RESIZING = ("pad", "expand", "resize", "gather")  # functions that enlarge their only operand


class Elementwise(LayerBase):
    """Describe an operation between tensors, or a tensor and a constant; smaller tensors are broadcast."""

    n_inputs: ClassVar[int | None] = None
    kind: Literal["elementwise"] = "elementwise"
    function: str  # add, mul, ...

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        return next(filter(None, (self._broadcast_problem(layer) for layer in inputs)), "")

    def _broadcast_problem(self, source: LayerBase) -> str:
        shape, out = source.output_shape, self.output_shape
        if self.function in RESIZING:
            bigger = source.elements > self.elements
            return f"{source.elements} elements cannot become {self.elements}" if bigger else ""
        if len(shape) == len(out) == 3:
            fits = all(a in (1, b) for a, b in zip(shape, out, strict=True))
        else:  # with heads among the channels, the axes need not match one by one
            fits = self.elements % source.elements == 0
        return "" if fits else f"'{source.name}' of shape {shape} cannot be broadcast to {out}"


class Activation(SameElements):
    """Describe a function of each element: relu, gelu, sigmoid, ..."""

    kind: Literal["activation"] = "activation"
    function: str


class Normalisation(SameElements):
    """Describe a batch (where it was not folded), layer or local response normalisation."""

    kind: Literal["normalisation"] = "normalisation"
    function: str


class Softmax(SameElements):
    """Describe a softmax over the channels."""

    kind: Literal["softmax"] = "softmax"


class Concat(LayerBase):
    """Describe tensors side by side, along the channels or along the positions."""

    n_inputs: ClassVar[int | None] = None
    kind: Literal["concat"] = "concat"
    axis: Literal["channel", "position"] = "channel"

    def check_shapes(self, inputs: list[LayerBase]) -> str:
        grows, stays = ("channels", "positions") if self.axis == "channel" else ("positions", "channels")
        total = sum(getattr(layer, grows) for layer in inputs)
        if total != getattr(self, grows):
            return f"{total} {grows} come in, {getattr(self, grows)} go out"
        odd = next((layer for layer in inputs if getattr(layer, stays) != getattr(self, stays)), None)
        return f"'{odd.name}' has {getattr(odd, stays)} {stays}, the output {getattr(self, stays)}" if odd else ""


class Reshape(SameElements):
    """Describe elements in another order or shape: flatten, transpose, channel shuffle. Nothing is computed."""

    kind: Literal["reshape"] = "reshape"


class Slice(FewerElements):
    """Describe a part of a tensor: split, slice, gather. Nothing is computed."""

    kind: Literal["slice"] = "slice"


class Reduce(FewerElements):
    """Describe a sum, mean, maximum or the like over some of the axes."""

    kind: Literal["reduce"] = "reduce"
    function: str


class Unknown(LayerBase):
    """Describe an operator that was let through by request: it costs nothing, and the report says so."""

    n_inputs: ClassVar[int | None] = None
    kind: Literal["unknown"] = "unknown"
    operator: str


# fmt: off
Layer = (
    Input | Conv | Linear | MatMul | Pool | GlobalPool | Elementwise | Activation | Normalisation | Softmax | Concat
    | Reshape | Slice | Reduce | Unknown
)
# fmt: on
WeightedLayer = Conv | Linear
View = Concat | Reshape | Slice  # data under another name: nothing is computed
KINDS: dict[str, type[LayerBase]] = {cls.model_fields["kind"].default: cls for cls in get_args(Layer)}


def n_weights(layer: WeightedLayer) -> int:
    """Return the constant weights of a layer, K x N over all its groups."""
    return layer.rows * layer.channels


def n_macs(layer: Layer) -> int:
    """Return the multiply-accumulates of one inference."""
    if isinstance(layer, WeightedLayer):
        return n_weights(layer) * layer.positions
    if isinstance(layer, MatMul):
        return layer.elements * layer.inner
    return 0


def _same_positions(layer: LayerBase, source: LayerBase) -> str:
    same = layer.positions == source.positions
    return "" if same else f"{source.positions} positions come in, {layer.positions} go out"


def _window_problem(window: Window, source: LayerBase, output_shape: tuple[int, ...]) -> str:
    n = len(window.kernel)
    sizes = len(window.stride), len(window.dilation), len(window.padding) / 2, len(output_shape) - 1
    if any(size != n for size in sizes) or n not in (1, 2):
        return f"kernel, stride, dilation, padding and output shape disagree about {n} spatial dimensions"
    if len(source.output_shape) != n + 1:
        return f"a {n}-D window does not fit the shape {source.output_shape} of '{source.name}'"
    expected = window.output_size(source.output_shape[1:])
    if 0 in expected:
        return f"the window is larger than the padded input of '{source.name}', {source.output_shape}"
    same = expected == output_shape[1:]
    return "" if same else f"the window gives {expected} positions, but output_shape says {output_shape[1:]}"
