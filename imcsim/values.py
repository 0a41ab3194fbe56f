"""What a network answers on a chip: real images through crossbars of real cells."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from imcsim.datasets import load_dataset
from imcsim.devices import load_device
from imcsim.errors import ImcsimError, did_you_mean
from imcsim.functional.accuracy import Accuracy, evaluate
from imcsim.functional.arrays import AnalogArrays
from imcsim.hardware import Hardware
from imcsim.progress import Progress, silent
from imcsim.quantised import load_quantised

SCHEMES = ("static", "reprogram")  # every weight lies in cells as it is; a basis has no coefficients of its own yet
COMPENSATIONS = ("none", "global")


@dataclass(frozen=True)
class Trial:
    """Images to run through a quantised ONNX model, and the cells that hold its weights.

    ``data``: a data set that ``load_dataset`` reads; ``images``: how many of it, from the first on. ``mean``, ``std``:
    what the network expects pixels from 0 to 1 to be shifted and divided by. ``device``: a kind or a Python file,
    ``device_options`` its fields; ``age_s``: seconds since programming, as the device counts them.
    """

    model: str
    data: str
    images: int = 100
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    device: str = "ideal"
    device_options: Mapping[str, Any] = field(default_factory=dict)
    age_s: float = 0.0
    compensation: str = "none"


def measure(trial: Trial, hardware: Hardware, scheme: str, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """The entry ``values`` of a report. Raises ImcsimError for whatever does not fit together."""
    if scheme not in SCHEMES:
        hint = f"take --scheme {' or '.join(SCHEMES)}, or leave out --data"
        raise ImcsimError(f"scheme '{scheme}'", "computes no values: its coefficients are synthetic", hint)
    if not trial.model.endswith(".onnx"):
        hint = "give a quantised ONNX model, such as workloads/models/resnet8_fashion.onnx, or leave out --data"
        raise ImcsimError(trial.model, "is a trace of layers, from which no values follow", hint)
    if trial.compensation not in COMPENSATIONS:
        hint = did_you_mean(trial.compensation, COMPENSATIONS)
        raise ImcsimError(f"compensation '{trial.compensation}'", "there is no such compensation", hint)
    network = load_quantised(trial.model)
    device = load_device(trial.device, **trial.device_options)
    data = load_dataset(trial.data).first(trial.images)
    arrays = AnalogArrays(hardware, device, seed, trial.age_s, compensation=cast(Any, trial.compensation))
    network.check_images(data.images.shape[1:])
    pixels = data.scaled(trial.mean, trial.std)
    found = evaluate(network, pixels, data.labels, arrays, progress=progress)
    return {
        "kind": "measured",
        "data": data.name,
        "images": found.n_images,
        "inputs_hash": _hash(Path(trial.model).read_bytes(), pixels.tobytes(), data.labels.tobytes()),
        "device": device.model_dump(mode="json"),
        "age_s": trial.age_s,
        "compensation": trial.compensation,
        "accuracy_frac": found.accuracy_frac,
        "accuracy_interval_95_frac": list(found.interval_95_frac),
        "agreement_frac": found.agreement_frac,
        "layers": [_layer(name, found, arrays) for name in found.snr_db],
    }


def _layer(name: str, found: Accuracy, arrays: AnalogArrays) -> dict[str, Any]:
    snr_db = found.snr_db[name]
    return {
        "layer": name,
        "snr": {"kind": "exact"} if math.isinf(snr_db) else {"kind": "noisy", "db": snr_db},
        "saturated_frac": arrays.saturated[name] / arrays.conversions[name],
    }


def _hash(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]
