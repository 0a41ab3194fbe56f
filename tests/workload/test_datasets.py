"""Do images and labels arrive as they were written, from every format, and are broken files refused?"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imcsim.util.errors import ImcsimError
from imcsim.workload.datasets import Dataset, load_dataset

Array = NDArray[Any]
RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (6, 3, 32, 32), np.uint8)
GREY = RNG.integers(0, 256, (6, 1, 9, 7), np.uint8)
LABELS = np.array([0, 0, 1, 1, 2, 2])


def write_pictures(folder: Path) -> Path:
    for number, (image, label) in enumerate(zip(COLOUR, LABELS, strict=True)):
        place = folder / "pictures" / "abc"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(place / f"{number}.png")
    return folder / "pictures"


def write_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "set.npz", images=COLOUR, labels=LABELS)
    return folder / "set.npz"


def write_cifar(folder: Path, n_labels: int = 1) -> Path:
    coarse = np.full((6, n_labels - 1), 9)
    records = np.concatenate([coarse, LABELS[:, None], COLOUR.reshape(6, -1)], axis=1).astype(np.uint8)
    records.tofile(folder / "test_batch.bin")
    return folder / "test_batch.bin"


def write_cifar_folder(folder: Path) -> Path:
    return write_cifar(folder, 2).parent


@pytest.mark.parametrize("write", [write_pictures, write_npz, write_cifar, write_cifar_folder])
def test_colour_images_come_back(write: Any, tmp_path: Path) -> None:
    loaded = load_dataset(write(tmp_path))
    np.testing.assert_array_equal(loaded.images, COLOUR)
    np.testing.assert_array_equal(loaded.labels, LABELS)


def idx(values: Array) -> bytes:
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return head + values.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_images_come_back_with_the_labels_beside_them(packed: bool, tmp_path: Path) -> None:
    end, pack = (".gz", gzip.compress) if packed else ("", bytes)
    (tmp_path / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(GREY[:, 0])))
    (tmp_path / f"t10k-labels-idx1-ubyte{end}").write_bytes(pack(idx(LABELS)))
    loaded = load_dataset(tmp_path / f"t10k-images-idx3-ubyte{end}")
    np.testing.assert_array_equal(loaded.images, GREY)
    np.testing.assert_array_equal(loaded.labels, LABELS)


def test_pixels_become_numbers_by_channel() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    scaled = Dataset("d", COLOUR, LABELS).first(2).scaled(mean, std)
    assert scaled.dtype == np.float32
    wanted = (COLOUR[1, 2, 5, 4] / 255 - 0.3) / 2.0
    assert scaled[1, 2, 5, 4] == pytest.approx(wanted, rel=1e-6)
    assert Dataset("d", GREY, LABELS).scaled()[0, 0, 0, 0] == pytest.approx(GREY[0, 0, 0, 0] / 255)


def no_file(folder: Path) -> Path:
    return folder / "none.npz"


def other_names(folder: Path) -> Path:
    np.savez(folder / "set.npz", pictures=COLOUR, labels=LABELS)
    return folder / "set.npz"


def too_few_labels(folder: Path) -> Path:
    np.savez(folder / "set.npz", images=COLOUR, labels=LABELS[:4])
    return folder / "set.npz"


def not_a_number(folder: Path) -> Path:
    np.savez(folder / "set.npz", images=np.full((6, 1, 2, 2), np.nan), labels=LABELS)
    return folder / "set.npz"


def cut_short(folder: Path) -> Path:
    path = write_cifar(folder)
    path.write_bytes(path.read_bytes()[:-5])
    return path


def no_pictures(folder: Path) -> Path:
    (folder / "empty" / "class").mkdir(parents=True)
    return folder / "empty"


def lonely_idx(folder: Path) -> Path:
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(GREY[:, 0]))
    return folder / "t10k-images-idx3-ubyte"


def text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("nothing")
    return folder / "notes.txt"


@pytest.mark.parametrize(("write", "problem"), [
    (no_file, "no such file"), (other_names, "name them 'images' and 'labels'"), (too_few_labels, "6 images and 4"),
    (not_a_number, "NaN"), (cut_short, "no whole CIFAR records"), (no_pictures, "no folders with pictures"),
    (lonely_idx, "t10k-labels-idx1-ubyte are not beside it"), (text, "no kind of data set"),
])  # fmt: skip
def test_what_cannot_be_read_is_refused(write: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ImcsimError, match=problem):
        load_dataset(write(tmp_path))


@pytest.mark.parametrize("n", [0, 7])
def test_more_images_than_there_are_is_refused(n: int) -> None:
    with pytest.raises(ImcsimError, match="there are 6"):
        Dataset("d", COLOUR, LABELS).first(n)


def test_spreads_and_channels_must_fit() -> None:
    data = Dataset("d", COLOUR, LABELS)
    for mean, std, problem in (((0.0, 0.0), (1.0,), "2 numbers for images of 3"), ((0.0,), (0.0,), "greater than 0"),
                               ((0.0,), (float("nan"),), "must be finite")):  # fmt: skip
        with pytest.raises(ImcsimError, match=problem):
            data.scaled(mean, std)
