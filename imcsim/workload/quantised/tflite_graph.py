"""Read a quantised TensorFlow Lite model, whose digital operators the LiteRT interpreter computes.

All is as by the library's reference kernels, OpResolverType.BUILTIN_REF, layer by layer and bit for bit. Its default
kernels differ from these in the last bit of about one output in a thousand: XNNPACK multiplies in float32 and rounds
half to even, and what runs without it (BUILTIN_WITHOUT_DEFAULT_DELEGATES) has yet another rule for some convolutions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from imcsim.util.errors import ImcsimError
from imcsim.workload.importers.tflite_model import DTYPES, TfliteModel, schema
from imcsim.workload.quantised.graph import Array, DigitalPart, Known, QuantisedGraph, Site, Tensor, ancestors
from imcsim.workload.quantised.requantisation import half_away
from imcsim.workload.quantised.tflite_reader import TfliteReader

PROBE = 3  # images that a piece is tried with


class TfliteGraph(QuantisedGraph):
    """Describe a TensorFlow Lite model, whose tensors are numbers and lie channels last."""

    def __init__(self, model: TfliteModel, where: str) -> None:
        self.model, self.where = model, where
        self.sites = TfliteReader(model).sites()
        self.input, self.output = model.input, model.output
        self.entry = model.tensors[model.input]
        *size, channels = self.entry.shape[1:]
        self.image_shape = (channels, *size)
        self.input_dtype = np.dtype(DTYPES[self.entry.kind])

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Take images with channels first, or as the file has it."""
        return shape in (self.image_shape, self.entry.shape[1:])

    def prepared(self, images: Array) -> Array:
        if images.shape[1:] == self.image_shape:
            images = np.moveaxis(images, 1, -1)
        if images.dtype == self.input_dtype or self.input_dtype.kind == "f":
            return images.astype(self.input_dtype)
        if images.dtype.kind != "f" or not len(self.entry.scale):
            hint = f"give {self.input_dtype}, or floating numbers where the input has a scale"
            raise ImcsimError(self.where, f"takes {self.input_dtype}, the images are {images.dtype}", hint)
        limits = np.iinfo(self.input_dtype)
        values = half_away(images / self.entry.scale[0]) + self.entry.zero[0]
        return np.asarray(np.clip(values, limits.min, limits.max), self.input_dtype)

    def channels_first(self, site: Site, x: Array) -> Array:
        return x.reshape(len(x), -1) if site.layer.sliding is None else np.moveaxis(x, -1, 1)

    def own_layout(self, site: Site, y: Array) -> Array:
        shape = self.model.tensors[self._number(site.gives)].shape
        return np.ascontiguousarray(np.moveaxis(y, 1, -1)).reshape(len(y), *shape[1:])

    def digital_part(self, gives: Tensor, known: Collection[Tensor]) -> DigitalPart:
        nodes = [(operator.inputs, operator.outputs) for operator in self.model.operators]
        taken, needs = ancestors(nodes, gives, known)
        numbers = [self._number(tensor) for tensor in needs]
        kinds = dict.fromkeys(self.model.operators[number].kind for number in taken)
        return _LitertPart(self.model, taken, numbers, self._number(gives), f"{self.where}: {', '.join(kinds)}").run

    def _number(self, tensor: Tensor) -> int:
        assert isinstance(tensor, int)
        return tensor


class _LitertPart:
    """Hold some operators of a model as a model of their own; tensors keep their numbers."""

    def __init__(self, model: TfliteModel, taken: list[int], needs: list[int], gives: int, where: str) -> None:
        self.model, self.needs, self.gives, self.where = model, needs, gives, where
        self.content = self._packed(taken)
        self.interpreter, self.images = self._interpreter(), 0
        self.at_once = self._takes_batches()
        if not self.at_once:  # what refused a batch may be left half allocated
            self.interpreter, self.images = self._interpreter(), 0

    def run(self, known: Known) -> Array:
        """Run all images at once, or one by one where the model fixes their number, as a constant shape does."""
        inputs = [known[number] for number in self.needs]
        if self.at_once:
            return self._compute(inputs)
        return np.concatenate([self._compute([x[i : i + 1] for x in inputs]) for i in range(len(inputs[0]))])

    def _packed(self, taken: list[int]) -> bytes:
        import flatbuffers

        classes, content = schema(self.where), self.model.content
        graph = content.subgraphs[0]
        used = {number for k in taken for number in self.model.operators[k].inputs if number >= 0}
        kept = {graph.tensors[number].buffer for number in used}
        kept |= {tensor.buffer for other in content.subgraphs[1:] for tensor in other.tensors}
        buffers = [item if k in kept else classes.BufferT() for k, item in enumerate(content.buffers)]
        part = _changed(graph, operators=[graph.operators[k] for k in taken], inputs=self.needs, outputs=[self.gives])
        sliced = _changed(
            content,
            subgraphs=[part, *content.subgraphs[1:]],
            buffers=buffers,
            signatureDefs=None,
            metadata=None,
            metadataBuffer=None,
        )
        builder = flatbuffers.Builder()
        builder.Finish(sliced.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _interpreter(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        try:
            return Interpreter(
                model_content=self.content, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
            )
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from None

    def _takes_batches(self) -> bool:
        """Say whether a few images at once give as many outputs."""
        tensors = self.model.tensors
        inputs: list[Array] = [np.zeros((PROBE, *tensors[n].shape[1:]), DTYPES[tensors[n].kind]) for n in self.needs]
        try:
            return self._compute(inputs).shape == (PROBE, *tensors[self.gives].shape[1:])
        except ImcsimError:
            return False

    def _compute(self, inputs: list[Array]) -> Array:
        try:
            if len(inputs[0]) != self.images:
                for number, x in zip(self.needs, inputs, strict=True):
                    self.interpreter.resize_tensor_input(number, x.shape)
                self.interpreter.allocate_tensors()
                self.images = len(inputs[0])
            for number, x in zip(self.needs, inputs, strict=True):
                self.interpreter.set_tensor(number, x)
            self.interpreter.invoke()
            return np.asarray(self.interpreter.get_tensor(self.gives))
        except (RuntimeError, ValueError) as error:
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> ImcsimError:
        reason = str(error).strip().split("\n")[0]
        return ImcsimError(self.where, f"the LiteRT library refuses this part ({reason})")


def _changed(item: Any, **fields: Any) -> Any:
    """Return a shallow copy of one of the library's objects with other fields."""
    copy = type(item)()
    vars(copy).update(vars(item) | fields)
    return copy
