"""What is tried: images to run through a quantised model, and the cells that hold its weights.

It imports nothing heavy, so that the command line can show its defaults at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.journal import Place

Compensation = Literal["none", "global", "column"]
COMPENSATIONS: tuple[Compensation, ...] = get_args(Compensation)


@dataclass(frozen=True)
class Trial:
    """Images to run through a quantised model, and the cells that hold its weights.

    Parameters
    ----------
    model : str
        A quantised ONNX or TensorFlow Lite model.
    data : str
        Labelled images: an npz, idx or CIFAR file, or folders of pictures.
    images : int
        How many of them, from the first on.
    mean, std : tuple of float
        What the network expects pixels from 0 to 1 to be shifted and divided by: one number, or one for each channel.
    device : str
        A kind of device or a Python file with one, or 'chip' for the device of the hardware.
    device_options : mapping of str to value
        Fields of that device.
    ages_s : tuple of float, or 'earliest'
        Seconds since programming, as the device counts them. What a plan writes for every batch is always read at the
        earliest age at which the device's model holds.
    compensation : {'none', 'global', 'column'}
        How drift is compensated digitally.
    chips : int
        How many chips are drawn, from the seed of the run on; times and energies are those of the first.
    calibration_file : str or Path, optional
        Ranges of the converters from ``imcsim.calibrate``; without file and images they cover the whole range of sums.
    calibration_images : int, optional
        Make the ranges from so many of the images, without their labels.
    bias_images : int
        So many of the images, without their labels, tell freshly written crossbars by how much to correct biases.
    refit : bool
        Fit the coefficients of a basis anew to the one that each chip turned out to have.
    journal : Path, or 'nowhere'
        A folder for what was computed so far; an interrupted trial goes on there.

    Examples
    --------
    >>> trial = Trial("int8.onnx", "test_images.npz", images=1000, ages_s=(3600.0, 86_400.0))
    >>> trial.settings()["ages_s"]
    (3600.0, 86400.0)
    """

    model: str
    data: str
    images: int = 100
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    device: str = "chip"
    device_options: Mapping[str, Any] = field(default_factory=dict)
    ages_s: tuple[float, ...] | Literal["earliest"] = "earliest"
    compensation: Compensation = "none"
    chips: int = 1
    calibration_file: str | Path | None = None
    calibration_images: int | None = None
    bias_images: int = 0
    refit: bool = False
    journal: Place = "nowhere"

    def settings(self) -> dict[str, Any]:
        """Return what decides the answers, as a comparison records it.

        Returns
        -------
        dict
            The fields by name, without the journal; ``calibration`` is the file, the number of images, or 'none'.
        """
        file = str(self.calibration_file) if self.calibration_file else None
        settings = {**asdict(self), "calibration_file": file or self.calibration_images or "none"}
        names = {"calibration_file": "calibration"}
        without = ("calibration_images", "journal")
        return {names.get(key, key): value for key, value in settings.items() if key not in without}

    def check(self) -> None:
        """Refuse settings that mean nothing.

        Raises
        ------
        ImcsimError
            For a number that is out of its range, an unknown compensation, and settings that contradict each other.
        """
        if self.compensation not in COMPENSATIONS:
            hint = did_you_mean(self.compensation, COMPENSATIONS)
            raise ImcsimError(f"compensation '{self.compensation}'", "there is no such compensation", hint)
        if self.images < 1:
            raise ImcsimError(f"images {self.images}", "must be at least 1", "leave it out for 100")
        self._check_images_within()
        if self.chips < 1:
            raise ImcsimError(f"chips {self.chips}", "must be at least 1", "leave it out for one chip")
        if not self.ages_s:
            raise ImcsimError("ages", "there is none", "leave them out for freshly written cells")
        if self.device == "chip" and self.device_options:
            raise ImcsimError("device options", "belong to a device", "name it, such as --device rram_generic")

    def _check_images_within(self) -> None:
        """Raise ImcsimError where more images correct or calibrate something than there are."""
        within, hint = f"to {self.images}, the images of the run", "are often enough"
        if not 0 <= self.bias_images <= self.images:
            raise ImcsimError(f"bias images {self.bias_images}", f"must be 0 {within}", f"20 {hint}")
        n_calibration = self.calibration_images
        if n_calibration is not None and not 1 <= n_calibration <= self.images:
            raise ImcsimError(f"calibration {n_calibration}", f"must be 1 {within}", f"50 {hint}")
        if n_calibration is not None and self.calibration_file is not None:
            raise ImcsimError("calibration", "is given as a file and as a number of images", "leave one of them out")
