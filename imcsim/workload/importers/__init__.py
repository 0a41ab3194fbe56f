"""Read networks from other tools as workloads, one file (or family of files) per format."""

from __future__ import annotations

from pathlib import Path

from imcsim.workload.workload import Workload, load_workload


def load_network(name_or_path: str | Path, *, allow_unknown: bool = False) -> Workload:
    """Load a shipped trace by its name, a trace file, or an ONNX or TensorFlow Lite model, imported on the spot.

    ``allow_unknown`` turns operators that are not understood into free layers. Raises ImcsimError.
    """
    suffix = Path(name_or_path).suffix
    if suffix == ".onnx":
        from imcsim.workload.importers.onnx import import_onnx  # late: onnx is slow to import

        return import_onnx(name_or_path, allow_unknown=allow_unknown)
    if suffix == ".tflite":
        from imcsim.workload.importers.tflite import import_tflite

        return import_tflite(name_or_path, allow_unknown=allow_unknown)
    return load_workload(name_or_path)
