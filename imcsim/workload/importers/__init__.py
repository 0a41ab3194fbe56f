"""Read networks from other tools as workloads, one file (or family of files) per format."""

from __future__ import annotations

from pathlib import Path

from imcsim.workload.workload import Workload, load_workload


def load_network(name_or_path: str | Path, *, allow_unknown: bool = False) -> Workload:
    """Load a shipped trace by its name, a trace file, or an ONNX or TensorFlow Lite model.

    Parameters
    ----------
    name_or_path : str or Path
        A shipped name, or a .json, .yaml, .onnx or .tflite file.
    allow_unknown : bool
        Operators of a model that are not understood become layers that cost nothing; else they are refused.

    Returns
    -------
    Workload
        The layers in execution order, checked.

    Raises
    ------
    ImcsimError
        For a missing, broken or inconsistent file, with the name of the layer.
    """
    suffix = Path(name_or_path).suffix
    if suffix == ".onnx":
        from imcsim.workload.importers.onnx import import_onnx  # late: onnx is slow to import

        return import_onnx(name_or_path, allow_unknown=allow_unknown)
    if suffix == ".tflite":
        from imcsim.workload.importers.tflite import import_tflite

        return import_tflite(name_or_path, allow_unknown=allow_unknown)
    return load_workload(name_or_path)


def as_workload(workload: str | Path | Workload) -> Workload:
    """Return a loaded workload as it is, and load any other. Raises ImcsimError as ``load_network`` does."""
    return workload if isinstance(workload, Workload) else load_network(workload)
