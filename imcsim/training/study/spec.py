"""Say what a study of trainings is asked for: a network, images, and what varies."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imcsim.training.hic.ageing import AgeingOptions
from imcsim.training.hic.layers import convert
from imcsim.training.hic.options import RATE_FLAGS, HybridOptions, TrainOptions
from imcsim.training.hic.physics import Physics
from imcsim.training.images import part
from imcsim.training.networks import NETWORKS, Network
from imcsim.training.tasks import Task
from imcsim.util import random_streams
from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.workload.datasets import Dataset, load_dataset

TEST_FRAC = 0.2  # of the images, where no others are given for the test
FUNCTION = "network"  # in a user's file, where no other is named


@dataclass(frozen=True)
class StudySpec:
    """Hold what a study is asked for.

    Parameters
    ----------
    network : str
        A shipped network ('mlp', 'small_cnn', 'resnet8', 'resnet32'), or ``FILE.py`` or ``FILE.py:FUNCTION``.
    data, test : str
        Labelled images to train on, or 'digits'; others for the test, else a fifth is kept apart.
    widths : tuple of float
        Multiples of all channels.
    seeds : int
        Trainings of each kind of weights and width.
    rates : mapping of str to tuple of float
        Rates of each kind of weights, 'hybrid' and 'float'; of several, tried with a seed of their own, the best is
        taken.
    options : TrainOptions
        Epochs, images of a step, cells, and so on.
    ageing : AgeingOptions
        Ages in s to test at, and repairs.
    hardware, overrides
        A preset or YAML file, and values that are changed about it, by dotted key.
    step_s : float, or 'hardware'
        Simulated seconds of a step, or what one takes on the hardware.
    """

    network: str = "mlp"
    data: str = "digits"
    test: str = ""
    widths: tuple[float, ...] = (1.0,)
    seeds: int = 1
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: {"hybrid": (1.0,), "float": (0.1,)})
    options: TrainOptions = field(default_factory=TrainOptions)
    ageing: AgeingOptions = field(default_factory=AgeingOptions)
    hardware: str = "hermes-64"
    step_s: float | Literal["hardware"] = "hardware"
    overrides: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ImcsimError for what cannot be."""
        names = [f"{width:g}" for width in self.widths]
        if not names or len(set(names)) < len(names) or not all(0 < width < math.inf for width in self.widths):
            raise ImcsimError("--widths", "expected different numbers above 0", "give --widths 1,2")
        if not 1 <= self.seeds <= 1000:
            raise ImcsimError("--seeds", f"{self.seeds} is not from 1 to 1,000")
        for kind, rates in self.rates.items():
            if not rates:
                raise ImcsimError(RATE_FLAGS[kind], "is empty", "give a number, or several to choose from")
            for rate in rates:
                replace(self.options, weights=kind, rate=rate)  # type: ignore[arg-type]

    @property
    def chip_name(self) -> str:
        """Return the name of the hardware, with what was changed about it."""
        changes = ", ".join(f"{key}={value}" for key, value in self.overrides.items())
        return f"{self.hardware} ({changes})" if changes else self.hardware

    @property
    def network_name(self) -> str:
        """Return the name of the network, without the folder of a file."""
        return Path(self.network).name

    def task(self) -> Task:
        """Return network and images. Raises ImcsimError where there are none, or they do not fit."""
        task = Task(load_function(self.network), *self._images())
        task.check()
        for width in self.widths:
            convert(task.build(width, 0), self.options.hybrid)
        return task

    def _images(self) -> tuple[Dataset, Dataset]:
        data = digits() if self.data == "digits" else load_dataset(self.data)
        if self.test:
            return data, load_dataset(self.test)
        order = random_streams.rng(0, "test images").permutation(len(data.labels))
        n = round(TEST_FRAC * len(order))
        if not n:
            raise ImcsimError(data.name, f"{len(order)} images are too few", "give more, and others with --test")
        unseen, seen = np.sort(order[:n]), np.sort(order[n:])
        return part(data, seen), replace(part(data, unseen), name=f"{data.name}, {TEST_FRAC:.0%} kept apart")


def digits() -> Dataset:
    """Return 1,797 images of 8x8 that come with scikit-learn."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        hint = "pip install 'imcsim[train]', or give --data"
        raise ImcsimError("--data digits", "needs scikit-learn", hint) from None
    loaded = load_digits()
    return Dataset("digits", (loaded.images[:, None] / 16).astype(np.float32), loaded.target.astype(np.int64))


def load_function(text: str) -> Network:
    """Load a shipped network by its name, or ``FILE.py`` or ``FILE.py:FUNCTION`` of a user.

    The function gets channels of the images, classes and width, and gives a ``torch.nn.Module``. Raises ImcsimError
    where there is no such thing.
    """
    file, _, function = text.partition(".py:") if ".py:" in text else (text, "", "")
    if function or text.endswith(".py"):
        return _from_file(Path(file if file.endswith(".py") else f"{file}.py"), function or FUNCTION)
    if text not in NETWORKS:
        raise ImcsimError("--network", f"there is no '{text}'", f"{did_you_mean(text, NETWORKS)} or give FILE.py")
    return NETWORKS[text]


def _from_file(path: Path, name: str) -> Network:
    spec = importlib.util.spec_from_file_location(f"imcsim_network_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImcsimError("--network", f"there is no file {path}", "give FILE.py or FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses, and the hash of the code, look it up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises
        raise ImcsimError(str(path), f"cannot be run ({error})", "import it in Python to see where") from None
    candidate = getattr(module, name, None)
    if not callable(candidate):
        hint = f"write `def {name}(channels, classes, width)` that gives a torch.nn.Module"
        raise ImcsimError(str(path), f"has no function '{name}'", hint)
    result: Network = candidate
    return result


def hybrid_options(given: Mapping[str, Any]) -> HybridOptions:
    """Build options of cells from names and values: those of ``HybridOptions`` and of ``Physics``.

    Raises ImcsimError for names and values that are unknown.
    """
    weight_options = {f.name: f.default for f in fields(HybridOptions) if f.name != "physics"}
    physical = {f.name: f.default for f in fields(Physics)}
    known = weight_options | physical
    for name, value in given.items():
        if name not in known:
            raise ImcsimError(f"--option {name}", "there is no such option", did_you_mean(name, known))
        if not _alike(value, known[name]):
            hint = f"give something like {str(known[name]).lower()}"
            raise ImcsimError(f"--option {name}", f"cannot be {value!r}", hint)
    physics = replace(Physics(), **{name: value for name, value in given.items() if name in physical})
    return HybridOptions(physics, **{name: value for name, value in given.items() if name in weight_options})


def _alike(value: Any, default: Any) -> bool:
    """Say whether a value is of the kind of a default; whole numbers are reals too, truths are no numbers."""
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)
