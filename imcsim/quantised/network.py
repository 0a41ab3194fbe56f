"""A quantised network, layer by layer: weighted layers by whatever multiplies, everything between by onnxruntime.

The graph is cut at the integers that weighted layers read and give; what lies between two cuts is a small model of its
own for onnxruntime, so that pooling, additions and the like are the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from imcsim.errors import ImcsimError
from imcsim.quantised.layers import IntegerLayer, Integers
from imcsim.quantised.onnx_reader import Reader, Site

Array = NDArray[Any]
Multiply = Callable[[IntegerLayer, Integers], Integers]
"""Sums (images, positions, channels) of a layer from its vectors (images, positions, groups, rows)."""


def load_quantised(path: str | Path) -> QuantisedNetwork:
    """A quantised ONNX file. Raises ImcsimError where it cannot be read or has float layers with weights."""
    try:
        model = onnx.load(str(path))
    except FileNotFoundError:
        raise ImcsimError(str(path), "the file does not exist", "check the path") from None
    except Exception as error:  # onnx hands on what its parser raises
        raise ImcsimError(str(path), "is no readable ONNX model, perhaps truncated", "export it again") from error
    return QuantisedNetwork(model, str(path))


class QuantisedNetwork:
    """``sites``: the weighted layers in execution order. ``run`` computes a batch with a given multiplication."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.model, self.where = model, where
        self.sites = Reader(model, where).sites()
        constants = {item.name for item in model.graph.initializer}
        self.inputs = [item.name for item in model.graph.input if item.name not in constants]
        self.outputs = [item.name for item in model.graph.output]

    @property
    def layers(self) -> list[IntegerLayer]:
        return [site.layer for site in self.sites]

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Raise ImcsimError where images of a ``shape`` (without their number) are not what the network takes."""
        dims = next(item for item in self.model.graph.input if item.name == self.inputs[0]).type.tensor_type.shape.dim
        wanted = tuple(dim.dim_value for dim in dims)[1:]  # 0 where any size will do
        if len(wanted) != len(shape) or any(size and size != own for size, own in zip(wanted, shape, strict=True)):
            problem = f"takes images of {_by(wanted)}, the data has {_by(shape)} (channels first)"
            raise ImcsimError(self.where, problem, "give the data set that it was trained on, or resize the images")

    def run(self, images: Array, multiply: Multiply = IntegerLayer.sums) -> Array:
        """The network's first output for images (n, ...), with ``multiply`` for the weighted layers."""
        *_, (_, output) = self.steps(images, multiply)
        return output

    def steps(self, images: Array, multiply: Multiply = IntegerLayer.sums) -> Iterator[tuple[str, Array]]:
        """The name and output of every weighted layer in turn; last of all '' and the network's first output."""
        known: dict[str, Array] = {self.inputs[0]: images}
        for site, piece in zip(self.sites, self._pieces[:-1], strict=True):
            known.update(piece.run(known))
            x = known[site.reads]
            sums = multiply(site.layer, site.layer.vectors(x))
            known[site.gives] = site.layer.finish(sums, site.layer.output_size(x))
            yield site.layer.name, known[site.gives]
        known.update(self._pieces[-1].run(known))
        yield "", known[self.outputs[0]]

    @cached_property
    def _pieces(self) -> list[Piece]:
        """The digital model in front of every weighted layer, and the one behind the last."""
        known, pieces = set(self.inputs), []
        for site in self.sites:
            pieces.append(Piece.before(self.model, site.reads, known))
            known |= {site.reads, site.gives}
        return [*pieces, Piece.before(self.model, self.outputs[0], known)]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size or "any") for size in shape)


@dataclass(frozen=True)
class Piece:
    """The nodes that give one tensor from tensors that are known; ``session`` is None where it is known itself."""

    needs: tuple[str, ...]
    gives: str
    session: Any

    @staticmethod
    def before(model: onnx.ModelProto, gives: str, known: set[str]) -> Piece:
        if gives in known:
            return Piece((), gives, None)
        nodes, needs = _ancestors(model, gives, known)
        return Piece(tuple(needs), gives, _session(model, nodes, needs, gives))

    def run(self, known: dict[str, Array]) -> dict[str, Array]:
        if self.session is None:
            return {}
        (value,) = self.session.run([self.gives], {name: known[name] for name in self.needs})
        return {self.gives: value}


def _ancestors(model: onnx.ModelProto, tensor: str, known: set[str]) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes between known tensors and one that is wanted, in execution order, and the known tensors they read."""
    makers = {name: number for number, node in enumerate(model.graph.node) for name in node.output}
    wanted, taken, needs = [tensor], set(), set()
    while wanted:
        name = wanted.pop()
        if name in known:
            needs.add(name)
        elif name in makers and makers[name] not in taken:
            taken.add(makers[name])
            wanted.extend(filter(None, model.graph.node[makers[name]].input))
    return [model.graph.node[number] for number in sorted(taken)], sorted(needs)


def _session(model: onnx.ModelProto, nodes: list[onnx.NodeProto], needs: list[str], gives: str) -> Any:
    """The nodes as a model of their own in onnxruntime; types and shapes from shape inference."""
    import onnxruntime

    types = _types(model)
    read = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "piece",
        [_open_batch(types[name]) for name in needs],
        [_open_batch(types[gives])],
        [item for item in model.graph.initializer if item.name in read],
    )
    piece = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")  # integer kernels for int8 on every processor
    return onnxruntime.InferenceSession(piece.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {item.name: item for item in [*graph.value_info, *graph.input, *graph.output]}


def _open_batch(item: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """The same tensor for any number of images."""
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(item)
    dims = copy.type.tensor_type.shape.dim
    if dims:
        dims[0].dim_param = "images"
    return copy


__all__ = ["Multiply", "QuantisedNetwork", "Site", "load_quantised"]
