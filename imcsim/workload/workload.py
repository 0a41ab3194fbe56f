"""Hold the layer trace of a network: a checked list of layers in execution order, and the files that hold it.

The kinds of layers are in ``layers.py``; the file format is described in ``docs/workloads.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from imcsim.util import presets
from imcsim.util.config import Spec, build, read_yaml
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.workload.layers import (
    KINDS,
    Activation,
    Concat,
    Conv,
    Elementwise,
    GlobalPool,
    Input,
    Layer,
    LayerBase,
    Linear,
    MatMul,
    Normalisation,
    Pool,
    Quantisation,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Unknown,
    View,
    WeightedLayer,
    Window,
    n_macs,
    n_weights,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "TRACE_VERSION", "Activation", "Concat", "Conv", "Elementwise", "GlobalPool", "Input", "Layer", "LayerBase",
    "Linear", "MatMul", "Normalisation", "Pool", "Quantisation", "Reduce", "Reshape", "Slice", "Softmax", "Tensors",
    "Unknown", "View", "WeightedLayer", "Window", "Workload", "load_tensors", "load_workload", "n_macs",
    "n_weights", "save_workload",
]  # fmt: skip

TRACE_VERSION = 1
SUFFIXES = (".json", ".yaml", ".yml")
Tensors = dict[str, "np.ndarray[Any, Any]"]


class Workload(Spec):
    """Describe a network as a trace: checked, frozen, in execution order.

    Raises ImcsimError (through ``load_workload``) for unknown keys, repeated names, layers that read later layers
    (cycles) and shapes that do not fit, with the layer's name.
    """

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1)]
    description: str
    source: str  # where the network comes from and how the trace was made
    tensors: str = ""  # a safetensors file beside the trace with weights and sample activations
    layers: tuple[Annotated[Layer, Field(discriminator="kind")], ...]

    _folder: Path | None = PrivateAttr(default=None)  # where a loaded trace lies, and so its tensors
    _arrays: dict[str, Any] = PrivateAttr(default_factory=dict)  # tensors of a trace that was not saved yet

    def __eq__(self, other: object) -> bool:
        """Compare traces, wherever they were loaded from."""
        if not isinstance(other, Workload):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in type(self).model_fields)

    def __hash__(self) -> int:
        return hash((self.name, self.source, self.layers))

    @cached_property
    def by_name(self) -> dict[str, Layer]:
        """Return the layers by their names."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Return the layers that read each layer."""
        readers: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for layer in self.layers:
            for name in dict.fromkeys(layer.inputs):
                readers[name].append(layer.name)
        return {name: tuple(names) for name, names in readers.items()}

    @property
    def weighted(self) -> tuple[WeightedLayer, ...]:
        """Return the layers with constant weights, in execution order."""
        return tuple(layer for layer in self.layers if isinstance(layer, WeightedLayer))

    @property
    def n_weights(self) -> int:
        """Return the weights of conv and linear layers; biases and normalisation are not counted."""
        return sum(n_weights(layer) for layer in self.weighted)

    @property
    def n_macs(self) -> int:
        """Return the multiply-accumulates of one inference, the products of two activations included."""
        return sum(n_macs(layer) for layer in self.layers)

    def check(self, where: str = "") -> None:
        """Refuse layers that do not fit the layers before them.

        Parameters
        ----------
        where : str
            How errors name the workload, such as its file.

        Raises
        ------
        ImcsimError
            For the first such layer, with its name.
        """
        where = where or self.name
        if not self.layers:
            raise ImcsimError(where, "the workload has no layers", "list at least an input and one layer")
        seen: dict[str, LayerBase] = {}
        for layer in self.layers:
            problem, suggestion = self._problem(layer, seen)
            if problem:
                raise ImcsimError(f"{where}: layer '{layer.name}'", problem, suggestion)
            seen[layer.name] = layer

    def _problem(self, layer: Layer, seen: Mapping[str, LayerBase]) -> tuple[str, str]:
        if layer.name in seen:
            return "the name is used twice", "give each layer a name of its own"
        for name in layer.inputs:
            if name not in self.by_name:
                return f"reads '{name}', which does not exist", did_you_mean(name, seen)
            if name not in seen:
                return f"reads '{name}', which comes later (a cycle)", "list the layers in execution order"
        problem = layer.problem([seen[name] for name in layer.inputs])
        return problem, "check the shapes of this layer and of its inputs"


def load_workload(name_or_path: str | Path) -> Workload:
    """Load the shipped trace of that name, or the trace in that JSON or YAML file, checked.

    Raises ImcsimError for a missing, broken or inconsistent file, with the layer's name.
    """
    path = presets.find("workloads", str(name_or_path), SUFFIXES)
    where = str(path)
    if path.suffix not in SUFFIXES:
        is_model = path.suffix in (".onnx", ".tflite")
        hint = "import it with imcsim export" if is_model else f"traces end in {', '.join(SUFFIXES)}"
        raise ImcsimError(where, "is no trace", hint)
    data = dict(_read(path))
    _check_version(data, where)
    raw = data.get("layers")
    if not isinstance(raw, list):
        raise ImcsimError(where, "key 'layers' must be a list of layers")
    header = build(Workload, {**data, "layers": []}, where)
    workload = header.model_copy(update={"layers": tuple(_layer(item, i, where) for i, item in enumerate(raw))})
    workload._folder = path.parent
    workload.check(where)
    return workload


def save_workload(workload: Workload, path: str | Path) -> None:
    """Write a trace as JSON, one layer per line, defaults left out.

    Parameters
    ----------
    workload : Workload
        Its tensors, if any, go into a file beside the trace.
    path : str or Path
        The JSON file, written whole or not at all.

    Raises
    ------
    ImcsimError
        Where it cannot be written.
    """
    path = Path(path)
    arrays = load_tensors(workload) if workload.tensors else {}
    if arrays:
        workload = workload.model_copy(update={"tensors": f"{path.stem}.safetensors"})
        _save_tensors(arrays, path.with_name(workload.tensors))
    _write(path, trace_text(workload))


def trace_text(workload: Workload) -> str:
    """Return the JSON text of a trace: readable, in stable order."""
    head = {key: getattr(workload, key) for key in ("version", "name", "description", "source", "tensors")}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items() if value != ""]
    layers = ",\n".join("    " + json.dumps(_layer_dict(layer)) for layer in workload.layers)
    return "\n".join(["{", *lines, '  "layers": [', layers, "  ]", "}", ""])


def load_tensors(workload: Workload) -> Tensors:
    """Read weights ('LAYER.weight', 'LAYER.bias', ...) and sample activations of a workload; empty where it has none.

    A weight has the shape (channels, rows), a bias (channels,). Raises ImcsimError where the file is missing or broken.
    """
    if workload._arrays or not workload.tensors:
        return dict(workload._arrays)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = (workload._folder or Path()) / workload.tensors
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        hint = "put it beside the trace, or remove the key 'tensors'"
        raise ImcsimError(str(path), f"the tensors of '{workload.name}' cannot be read ({error})", hint) from None


def with_tensors(workload: Workload, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Workload:
    """Return the workload with tensors in memory, which ``save_workload`` writes beside it."""
    result = workload.model_copy(update={"tensors": f"{workload.name}.safetensors" if arrays else ""})
    result._arrays = dict(arrays)
    return result


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix != ".json":
        return read_yaml(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError) as error:
        raise ImcsimError(str(path), f"is no readable JSON ({error})", "check the file, or write it again") from None
    if not isinstance(data, dict):
        raise ImcsimError(str(path), "must hold a mapping with the keys name, description, source, layers")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping from JSON, where a key that is given twice is a mistake."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key '{next(key for key in keys if keys.count(key) > 1)}' is given twice")
    return result


def _check_version(data: Mapping[str, Any], where: str) -> None:
    version = data.get("version", TRACE_VERSION)
    if version != TRACE_VERSION:
        hint = "export the network again, or use a newer imcsim"
        raise ImcsimError(where, f"trace version {version!r} is not known, this imcsim reads {TRACE_VERSION}", hint)


def _layer(item: Any, index: int, where: str) -> LayerBase:
    """Read one layer from its mapping; mistakes are reported with its name."""
    if not isinstance(item, dict):
        raise ImcsimError(f"{where}: layer {index}", "must be a mapping", "write name, kind, inputs and output_shape")
    place = f"{where}: layer '{item['name']}'" if isinstance(item.get("name"), str) else f"{where}: layer {index}"
    kind = item.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        if "kind" not in item:
            raise ImcsimError(place, "has no kind", f"known: {', '.join(sorted(KINDS))}")
        raise ImcsimError(place, f"kind '{kind}' is not known", did_you_mean(str(kind), KINDS))
    return build(KINDS[kind], item, place)


def _layer_dict(layer: LayerBase) -> dict[str, Any]:
    content = layer.model_dump(mode="json", exclude_defaults=True)
    return {"name": content.pop("name"), "kind": getattr(layer, "kind"), **content}  # noqa: B009  each subclass has one


def _save_tensors(arrays: Tensors, path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save

    _write(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ImcsimError(str(path), f"cannot be written ({error.strerror})", "choose another place with -o") from None
