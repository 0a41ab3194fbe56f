"""Calibration of a chip's converters for a network, from files and names to ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imcsim.functional.calibration import AdcRanges, calibrate
from imcsim.functional.layout import layout
from imcsim.hardware.hardware import load_hardware
from imcsim.mapping.schemes import load_scheme
from imcsim.util.progress import Progress, silent
from imcsim.workload.datasets import load_dataset
from imcsim.workload.importers import load_network
from imcsim.workload.quantised import load_quantised


def calibrated(
    model: str,
    hardware: str,
    data: str,
    images: int = 100,
    scheme: str = "reprogram",
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    progress: Progress = silent,
) -> AdcRanges:
    """Ranges for the layers of a model on a chip under a scheme, from the first images of a data set.

    Raises ImcsimError for whatever does not fit together.
    """
    chip, network = load_hardware(hardware, overrides), load_quantised(model)
    plan = load_scheme(scheme, options or {}).plan(load_network(model), chip, 1, 0)
    sample = load_dataset(data).first(images)
    network.check_images(sample.images.shape[1:])
    made_on = {"kind": "least error", "model": model, "data": sample.name, "images": images, "scheme": scheme}
    places = layout(plan, network.layers, chip)
    return calibrate(network, network.pixels(sample, mean, std), places, chip, made_on, progress=progress)
