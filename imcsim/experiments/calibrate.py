"""Calibration of a chip's converters for a network, from files and names to ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imcsim.functional import calibration
from imcsim.functional.calibration import AdcRanges
from imcsim.functional.layout import layout
from imcsim.hardware.preset import AnyHardware, loaded
from imcsim.mapping.schemes import load_scheme
from imcsim.util.progress import Progress, silent
from imcsim.workload.datasets import load_dataset
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import load_quantised


def calibrate(
    model: str,
    hardware: AnyHardware,
    data: str,
    *,
    images: int = 100,
    scheme: str = "reprogram",
    options: Mapping[str, Any] | None = None,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    progress: Progress = silent,
) -> AdcRanges:
    """Find, for every layer of a model on a chip, the range of column sums at which its converters err least.

    Parameters
    ----------
    model : str
        A quantised ONNX or TensorFlow Lite model.
    hardware : str, Path, Preset or Hardware
        A shipped name or a YAML file; a ``Preset`` or loaded hardware where something is changed about it.
    data : str
        Sample images, as the network sees them; their labels are not used.
    images : int
        How many of them, from the first on.
    scheme : str
        A shipped scheme or a Python file with one.
    options : mapping of str to value, optional
        Options of the scheme.
    mean, std : tuple of float
        What the network expects pixels from 0 to 1 to be shifted and divided by.
    progress : callable
        Is told of what is done, the total and the next step.

    Returns
    -------
    AdcRanges
        The range of each layer, in level steps of a cell times input digits; ``AdcRanges.write`` makes the file that
        ``Trial.calibration_file`` takes.

    Raises
    ------
    ImcsimError
        For whatever does not fit together.
    """
    chip, network = loaded(hardware), load_quantised(model)
    plan = load_scheme(scheme, options or {}).plan(load_network(model), chip, 1, 0)
    sample = load_dataset(data).first(images)
    network.check_images(sample.images.shape[1:])
    made_on = {"kind": "least error", "model": model, "data": sample.name, "images": images, "scheme": scheme}
    places, pixels = layout(plan, network.layers, chip), network.pixels(sample, mean, std)
    return calibration.calibrate(network, pixels, places, chip, made_on, progress=progress)
