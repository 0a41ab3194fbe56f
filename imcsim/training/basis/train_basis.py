"""From files and names to a trained basis, tested on images that it has not seen."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from imcsim.mapping.basis.fitted import FittedBasis, load_fitted
from imcsim.training.basis.options import BasisTrainOptions
from imcsim.training.basis.testing import Tested, check_images, test
from imcsim.training.basis.train import train
from imcsim.util.progress import Progress, silent
from imcsim.workload.datasets import Dataset, load_dataset
from imcsim.workload.quantised import load_quantised


@dataclass(frozen=True)
class TrainedBasis:
    """A basis after training; ``tested``: its accuracy on images that it has not seen, None where there are none."""

    basis: FittedBasis
    tested: Tested | None


def train_basis(
    model: str | Path,
    basis: str | Path,
    data: str | Path,
    options: BasisTrainOptions | None = None,
    *,
    test_data: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
) -> TrainedBasis:
    """Train a basis and its coefficients against the task of a quantised network.

    Parameters
    ----------
    model : str or Path
        The quantised ONNX model of the basis.
    basis : str or Path
        A file that ``FittedBasis.write`` made.
    data : str or Path
        Labelled images to train on.
    options : BasisTrainOptions, optional
        Epochs, images of a step, rate, and so on.
    test_data : str or Path, optional
        Other labelled images, used once, at the end.
    out : str or Path, optional
        The file of the trained basis; an interrupted training goes on from ``OUT.unfinished``. Without it nothing is
        kept.
    progress : callable
        Is told of what is done, the total and the next step.

    Returns
    -------
    TrainedBasis
        The basis of the best epoch, and accuracies as fractions.

    Raises
    ------
    ImcsimError
        Where model, basis and images do not fit each other, or the loss is no number any more.
    """
    options, before, images = options or BasisTrainOptions(), load_fitted(basis), load_dataset(data)
    unseen = load_dataset(test_data) if test_data else None
    if unseen:
        check_images(load_quantised(model), unseen)
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            after = train(model, before, images, options, Path(folder) / "unfinished", progress)
    else:
        after = _written(model, before, images, options, Path(out), progress)
    return TrainedBasis(after, test(model, before, after, unseen, options) if unseen else None)


def _written(
    model: str | Path, before: FittedBasis, images: Dataset, options: BasisTrainOptions, out: Path, progress: Progress
) -> FittedBasis:
    """Train, going on where an earlier training was interrupted, and write the result to ``out``."""
    unfinished = out.with_name(f"{out.name}.unfinished")
    after = train(model, before, images, options, unfinished, progress)
    after.write(out)
    unfinished.unlink(missing_ok=True)
    return after
