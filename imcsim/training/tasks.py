"""Describe what is learnt: a network and its images, and what stands for all that decides the result."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from imcsim.training.networks import Network
from imcsim.util import random_streams
from imcsim.util.config import canonical_hash
from imcsim.util.errors import ImcsimError
from imcsim.util.version import VERSION
from imcsim.workload.datasets import Dataset

HINT = "its function gets channels, classes and width, and gives a torch.nn.Module"
OURS = ("torch", "imcsim")  # whose code the version stands for


@dataclass(frozen=True)
class Task:
    """Hold a network, images to train on, and other images for the test, by which nothing is chosen."""

    network: Network
    data: Dataset
    test: Dataset

    @property
    def classes(self) -> int:
        """Return as many classes as there are labels in the training images."""
        return int(self.data.labels.max()) + 1

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return (channels, height, width)."""
        return self.data.images.shape[1:]

    def check(self) -> None:
        """Raise ImcsimError where the images do not belong together."""
        shape, test_shape = self.image_shape, self.test.images.shape[1:]
        if shape != test_shape:
            problem = f"its images are {_said(test_shape)}, those of {self.data.name} are {_said(shape)}"
            raise ImcsimError(self.test.name, problem, "give test images of the same kind")
        for data in (self.data, self.test):
            if data.labels.min() < 0:
                raise ImcsimError(data.name, f"has the label {data.labels.min()}", "number the classes from 0 on")
        if self.test.labels.max() >= self.classes:
            problem = f"has labels up to {self.test.labels.max()}, {self.data.name} has {self.classes} classes"
            raise ImcsimError(self.test.name, problem, "number the classes of both in the same way")

    def build(self, width: float, seed: int) -> nn.Module:
        """Build a fresh network. Raises ImcsimError where it does not take the images, or does not give the classes."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(random_streams.rng(seed, "initial weights").integers(1 << 62)))
            try:
                network = self.network(self.image_shape[0], self.classes, width)
            except Exception as error:  # whatever a user's function raises
                raise ImcsimError("--network", f"its function fails ({_first(error)})", HINT) from None
            if not isinstance(network, nn.Module):
                raise ImcsimError("--network", f"its function gives a {type(network).__name__}", HINT)
            self._try(network)
        return network

    def _try(self, network: nn.Module) -> None:
        """Try two images, which also gives lazy layers their weights."""
        network.eval()
        try:
            with torch.no_grad():
                scores = network(torch.zeros(2, *self.image_shape))
        except Exception as error:  # whatever a user's module raises
            problem = f"does not take images of {_said(self.image_shape)} ({_first(error)})"
            raise ImcsimError("--network", problem, HINT) from None
        shape = tuple(getattr(scores, "shape", ()))
        if shape != (2, self.classes):
            problem = f"gives {_said(shape[1:]) or 'no'} numbers for an image, there are {self.classes} classes"
            raise ImcsimError("--network", problem, HINT)

    def fingerprint(self, width: float, seed: int) -> str:
        """Return what stands for images, labels and network, its code and first weights, and the version."""
        return canonical_hash([self._images, network_hash(self.build(width, seed)), VERSION])

    @cached_property
    def _images(self) -> list[str]:
        return [data_hash(self.data), data_hash(self.test)]


def is_normalised(network: nn.Module) -> bool:
    """Say whether there is a batch normalisation in a network."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def _said(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _first(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def data_hash(data: Dataset) -> str:
    """Return a hash of all pixels and labels."""
    content = hashlib.sha256()
    for array in (data.images, data.labels):
        content.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def network_hash(network: nn.Module) -> str:
    """Return a hash of a network's layers, its values, and the files in which its own kinds of modules are written."""
    content = hashlib.sha256(repr(network).encode())
    for file in sorted({_file(type(module)) for module in network.modules()} - {""}):
        content.update(Path(file).read_bytes())
    for name, value in network.state_dict().items():
        content.update(name.encode() + value.numpy().tobytes())
    return content.hexdigest()


def _file(kind: type[Any]) -> str:
    if kind.__module__.partition(".")[0] in OURS:
        return ""
    try:
        return inspect.getsourcefile(kind) or ""
    except (OSError, TypeError):  # made in an interactive session
        return ""
