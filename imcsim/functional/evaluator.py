"""Everything of a trial that chips and ages share, and the pass of its images through each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from imcsim.functional.accuracy import Accuracy, LayerCounts, batches, exact_answers, score
from imcsim.functional.arrays import AnalogArrays, bias_corrections
from imcsim.functional.basis_refit import Refitted, refitted
from imcsim.functional.calibration import FULL, AdcRanges, calibrate, load_calibration
from imcsim.functional.chip import WrittenChip, write_chip
from imcsim.functional.layout import layout
from imcsim.functional.placement import BASIS, Placements
from imcsim.functional.reading import Reading
from imcsim.functional.trial import Trial
from imcsim.hardware.devices import DEVICES, DeviceSpec, load_device
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.plan import BasisMvm, Mvm, Plan
from imcsim.util.config import canonical_hash
from imcsim.util.errors import ImcsimError
from imcsim.util.host_memory import need_bytes
from imcsim.util.journal import Journal
from imcsim.util.progress import Progress
from imcsim.workload.datasets import Dataset, load_dataset
from imcsim.workload.quantised import Integers, QuantisedNetwork, load_quantised

AT_ONCE = 50  # images of one batch at most; it changes no answer
BATCH_BYTES = 1 << 30  # that the vectors of a layer may take, else batches are smaller
VECTOR_BYTES, CELL_BYTES = 40, 90  # of an input while it is converted; of a cell, its errors and its tables


class Evaluator:
    """Everything of a trial that chips and ages share."""

    def __init__(self, trial: Trial, plan: Plan, hardware: Hardware) -> None:
        self.trial, self.plan, self.hardware = trial, plan, hardware
        self.network: QuantisedNetwork = load_quantised(trial.model)
        self.device: DeviceSpec = hardware.cell.device
        if trial.device != "chip":
            self.device = load_device(trial.device, **trial.device_options)
        self.ages_s = (self.device.earliest_s,) if isinstance(trial.ages_s, str) else trial.ages_s
        self.device.checked_age(self.ages_s)
        self.data: Dataset = load_dataset(trial.data).first(trial.images)
        self.network.check_images(self.data.images.shape[1:])
        self.pixels = self.network.pixels(self.data, trial.mean, trial.std)
        self.layout: Placements = layout(plan, self.network.layers, hardware)
        self._check_levels()
        self._check_basis()
        self.at_once = self._images_at_once()
        self.refits: dict[int, Refitted] = {}
        self.calibration: AdcRanges = self._calibration()

    def _check_levels(self) -> None:
        """Refuse a device whose levels are not those of a code."""
        n_levels = self.device.n_levels
        for content in self.layout.contents.values():
            wanted = content.code.levels
            if n_levels != "continuous" and (n_levels - 1) % (wanted - 1):
                problem = f"its {n_levels} levels do not hold the {wanted} of a cell"
                hint = f"take {wanted}, or as many as put others evenly between them"
                raise ImcsimError(f"device '{self.device.kind}'", problem, hint)

    def _check_basis(self) -> None:
        if self.trial.refit and BASIS not in self.layout.contents:
            hint = "take basis_broadcast with --option basis=FILE.safetensors, or leave out --refit"
            raise ImcsimError(f"scheme '{self.plan.scheme}'", "combines no basis, so there is nothing to refit", hint)
        if self.trial.bias_images and any(np.any(placed.bias) for placed in self.layout.placements.values()):
            problem = "would be towards the network as it was before its basis was trained"
            raise ImcsimError("correction of biases", problem, "leave out --bias-images")

    def _calibration(self) -> AdcRanges:
        """Return the ranges of converters: those of a file, or made from images, or the whole range of sums."""
        file, images = self.trial.calibration_file, self.trial.calibration_images
        if file is not None:
            return load_calibration(str(file), self.layout, self.hardware)
        if images is None:
            return FULL
        made_on = {"kind": "least error", "data": self.data.name, "images": images}
        return calibrate(self.network, self.pixels[:images], self.layout, self.hardware, made_on, self.at_once)

    def _images_at_once(self) -> int:
        """Return how many memory allows; raises ImcsimError where one, or the cells of all chips, are too many."""
        layers = {op.layer.name: op.layer for op in self.plan.operations() if isinstance(op, Mvm | BasisMvm)}
        inputs = {name: layer.positions * layer.rows * layer.groups for name, layer in layers.items()}
        largest = max(inputs, key=lambda name: inputs[name], default="")
        one = inputs.get(largest, 0) * VECTOR_BYTES
        need_bytes(one, f"one image in layer '{largest}'", "run a smaller network, or on a larger machine")
        devices = sum(
            content.code.device_columns(block) * len(block.rows)
            for content in self.layout.contents.values()
            for block in content.blocks
        )
        copies = self.trial.chips * len(self.ages_s)
        need_bytes(
            devices * copies * CELL_BYTES, f"{devices:,} cells, {copies} times", "take fewer --seeds or ages at once"
        )
        return int(min(AT_ONCE, max(1, BATCH_BYTES // max(one, 1))))

    def write(self, seed: int, progress: Progress) -> WrittenChip:
        """Write a chip of this seed as the plan says."""
        return write_chip(self.plan, self.layout.contents, self.hardware, self.device, seed, progress)

    def run(self, chips: Mapping[int, WrittenChip], journal: Journal, progress: Progress) -> dict[Any, Accuracy]:
        """Return by (seed, age) the answers to all images, from the journal where it has them."""
        self.refits = {seed: self._refit(seed, chip, progress) for seed, chip in chips.items() if self.trial.refit}
        layouts = {seed: self.refits[seed].layout if self.trial.refit else self.layout for seed in chips}
        held = {seed: places.hash.encode() for seed, places in layouts.items()}
        corrections = {seed: self._corrections(seed, chip, layouts[seed], progress) for seed, chip in chips.items()}
        arrays = {
            (seed, age_s): AnalogArrays(layouts[seed], chip.cells, self.reading(seed, age_s), corrections[seed])
            for seed, chip in chips.items()
            for age_s in self.ages_s
        }
        accuracies: dict[Any, list[Accuracy]] = {key: [] for key in arrays}
        parts = list(batches(self.trial.images, self.at_once))
        for number, part in enumerate(parts):
            images, labels, exact = self.pixels[part], self.data.labels[part], None
            for place, (key, multiply) in enumerate(arrays.items()):
                progress(number * len(arrays) + place, len(parts) * len(arrays), "images")
                name = f"{key[0]}/{key[1]}/{part.start}/{_hash(images.tobytes(), labels.tobytes(), held[key[0]])}"
                if name not in journal.entries:
                    exact = exact_answers(self.network, images, labels) if exact is None else exact
                    multiply.first_image = part.start
                    answers = score(self.network, images, labels, exact, multiply)
                    journal.add(name, asdict(answers + Accuracy(0, 0, 0, 0, multiply.take_counts())))
                accuracies[key].append(_accuracy(journal.entries[name]))
        return {key: reduce(add, values) for key, values in accuracies.items()}

    def _refit(self, seed: int, chip: WrittenChip, progress: Progress) -> Refitted:
        """Return the placements with the coefficients that a chip has."""
        progress(0, 1, f"coefficients of chip {seed}")
        reading = self.reading(seed, self.device.earliest_s)
        return refitted(self.layout, self.plan, self.network.layers, chip.cells, reading)

    def _corrections(
        self, seed: int, chip: WrittenChip, places: Placements, progress: Progress
    ) -> Mapping[str, Integers]:
        """Return what freshly written crossbars need to be added to their biases."""
        if not self.trial.bias_images:
            return {}
        progress(0, 1, f"biases of chip {seed}")
        fresh = AnalogArrays(places, chip.cells, self.reading(seed, self.device.earliest_s))
        return bias_corrections(self.network, self.pixels[: self.trial.bias_images], fresh, self.at_once)

    def reading(self, seed: int, age_s: float) -> Reading:
        """Return how the crossbars of a chip are read at an age."""
        return Reading(self.hardware, self.device, seed, age_s, self.trial.compensation, self.calibration)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return what was measured, as the report says it."""
        trial = self.trial
        return {
            "kind": "measured",
            "data": self.data.name,
            "images": trial.images,
            "inputs_hash": _hash(Path(trial.model).read_bytes(), self.pixels.tobytes(), self.data.labels.tobytes()),
            "device": {**dict(self.device), "kind": DEVICES.key(type(self.device))},
            "age_s": self.ages_s[0],
            "compensation": trial.compensation,
            "bias_images": trial.bias_images,
            "refit": trial.refit,
            "calibration": self.calibration.made_on,
        }

    @property
    def identity(self) -> str:
        """Return a hash of all that decides an answer, images apart."""
        chosen = {key: value for key, value in self.settings.items() if key not in ("images", "inputs_hash", "age_s")}
        model = _hash(Path(self.trial.model).read_bytes())
        scale = [list(self.trial.mean), list(self.trial.std)]
        cal = self.calibration.model_dump(mode="json")
        return canonical_hash([chosen, model, scale, cal, self.hardware.hash, repr(self.plan.phases)])


def _accuracy(entry: Mapping[str, Any]) -> Accuracy:
    layers = {name: LayerCounts(**counts) for name, counts in entry["layers"].items()}
    return Accuracy(**{**entry, "layers": layers})


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]
