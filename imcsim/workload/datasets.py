"""Read labelled images from the formats they come in: a folder of pictures, npz, CIFAR binaries, idx (MNIST)."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imcsim.util.errors import ImcsimError

Array = NDArray[Any]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
CIFAR_PIXELS = 3 * 32 * 32
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Dataset:
    """Hold ``images``: (n, channels, height, width), or whatever shape an npz holds; ``labels``: (n,) int64."""

    name: str
    images: Array
    labels: NDArray[np.int64]

    def first(self, n: int) -> Dataset:
        """Return the first ``n`` images. Raises ImcsimError where there are fewer, or n is below 1."""
        if not 1 <= n <= len(self.labels):
            hint = "ask for 1 up to that many"
            raise ImcsimError(f"{self.name}: images {n}", f"there are {len(self.labels):,}", hint)
        return Dataset(self.name, self.images[:n], self.labels[:n])

    def scaled(self, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> NDArray[np.float32]:
        """Return (n, channels, ...) pixels from 0 to 1, less ``mean`` over ``std``, one number for all or per channel.

        Raises ImcsimError where their number does not fit the channels, or a spread is not positive.
        """
        if not np.isfinite([*mean, *std]).all():
            raise ImcsimError(f"{self.name}: mean and std", "must be finite numbers", "give those of the training data")
        if min(std) <= 0:
            raise ImcsimError(f"{self.name}: std", "must be greater than 0", "give the spread of each channel")
        pixels = self.images.astype(np.float32) / (255 if self.images.dtype == np.uint8 else 1)
        shift, spread = (self._per_channel(values) for values in (mean, std))
        return np.asarray((pixels - shift) / spread, np.float32)

    def _per_channel(self, values: Sequence[float]) -> Array:
        if len(values) not in (1, self.images.shape[1]):
            problem = f"{len(values)} numbers for images of {self.images.shape[1]} channels"
            raise ImcsimError(f"{self.name}: mean and std", problem, "give one for all, or one for each channel")
        return np.array(values, np.float32).reshape(-1, *(1,) * (self.images.ndim - 2))


def load_dataset(path: str | Path) -> Dataset:
    """Read images and labels from a file or folder.

    Parameters
    ----------
    path : str or Path
        A folder of folders of pictures (labels are the folders in alphabetical order), an npz with ``images`` (or x)
        and ``labels`` (or y), CIFAR-10 or CIFAR-100 ``.bin`` files or a folder of them, an idx file of images with its
        labels beside it (``-images-`` becomes ``-labels-``), plain or gzipped.

    Returns
    -------
    Dataset
        Images (n, channels, height, width) or as an npz holds them, and labels (n,).

    Raises
    ------
    ImcsimError
        Naming the file, where there is nothing to read or labels do not fit.
    """
    path = Path(path)
    if not path.exists():
        raise ImcsimError(str(path), "there is no such file or folder", "check the path")
    images, labels = _reader(path)(path)
    if len(images) != len(labels) or not len(labels):
        raise ImcsimError(str(path), f"{len(images)} images and {len(labels)} labels", "give one label for each image")
    if not np.isfinite(images.min()) or not np.isfinite(images.max()):
        raise ImcsimError(str(path), "some pixels are NaN or infinite", "check how the file was made")
    if labels.dtype.kind not in "iub" and not (labels.dtype.kind == "f" and (labels == np.rint(labels)).all()):
        raise ImcsimError(str(path), "some labels are no whole numbers", "number the classes from 0 on")
    return Dataset(path.name, images, labels.astype(np.int64))


def _reader(path: Path) -> Any:
    if path.is_dir():
        return _cifar_folder if any(path.glob("*.bin")) else _picture_folder
    if path.suffix == ".npz":
        return _npz
    if path.suffix == ".bin":
        return _cifar
    if "idx" in path.name:
        return _idx_pair
    known = "a folder of pictures, .npz, CIFAR .bin, idx"
    raise ImcsimError(str(path), "is no kind of data set that is known", f"give {known}")


def _picture_folder(path: Path) -> tuple[Array, Array]:
    from PIL import Image

    classes = sorted(folder for folder in path.iterdir() if folder.is_dir())
    labelled = [(file, label) for label, folder in enumerate(classes) for file in sorted(folder.iterdir())]
    labelled = [(file, label) for file, label in labelled if file.suffix.lower() in PICTURES]
    if not labelled:
        raise ImcsimError(str(path), "no folders with pictures in it", "put the pictures of each class into a folder")
    pictures = [np.asarray(Image.open(file)) for file, _ in labelled]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        raise ImcsimError(str(path), f"pictures of {len(sizes)} sizes", "resize them to what the network takes")
    stacked = np.stack(pictures)
    images = stacked[:, None] if stacked.ndim == 3 else np.moveaxis(stacked, -1, 1)
    return images, np.array([label for _, label in labelled])


def _npz(path: Path) -> tuple[Array, Array]:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
    except (OSError, ValueError) as error:
        raise ImcsimError(str(path), "is no readable npz file", "save it with numpy.savez") from error
    names = [next((name for name in pair if name in arrays), None) for pair in (("images", "x"), ("labels", "y"))]
    if None in names:
        raise ImcsimError(str(path), f"has the arrays {', '.join(arrays)}", "name them 'images' and 'labels'")
    images, labels = (arrays[str(name)] for name in names)
    return (images[:, None] if images.ndim == 3 else images), np.ravel(labels)


def _cifar(path: Path) -> tuple[Array, Array]:
    content = np.fromfile(path, np.uint8)
    for n_labels in (1, 2):  # CIFAR-100 gives a coarse label before the fine one
        if content.size and content.size % (CIFAR_PIXELS + n_labels) == 0:
            records = content.reshape(-1, CIFAR_PIXELS + n_labels)
            return records[:, n_labels:].reshape(-1, 3, 32, 32), records[:, n_labels - 1]
    raise ImcsimError(str(path), f"{content.size:,} bytes are no whole CIFAR records", "take the binary version")


def _cifar_folder(path: Path) -> tuple[Array, Array]:
    parts = [_cifar(file) for file in sorted(path.glob("*.bin"))]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _idx_pair(path: Path) -> tuple[Array, Array]:
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside == path or not beside.exists():
        raise ImcsimError(str(path), f"its labels {beside.name} are not beside it", "name the file of the images")
    images = _idx(path)
    return (images[:, None] if images.ndim == 3 else images), _idx(beside)


def _idx(path: Path) -> Array:
    raw = path.read_bytes()
    data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise ImcsimError(str(path), "is no idx file", "its first bytes say type and dimensions")
    shape = np.frombuffer(data, ">u4", data[3], 4)
    values = np.frombuffer(data, IDX_TYPES[data[2]], offset=4 + 4 * data[3])
    if values.size != int(np.prod(shape)):
        raise ImcsimError(str(path), f"{values.size:,} values for a shape of {tuple(shape)}", "it may be truncated")
    return values.reshape(shape).astype(values.dtype.newbyteorder("="))
