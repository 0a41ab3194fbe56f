"""Prove from the grants of a simulated run when it has become periodic.

Let images a < b < c and a shift of q images and length_ps be such that

1. all tasks of images up to a have ended when image b is first touched, and all of images up to b when image c is
   ("touched": first admitted, or first granted where all images are admitted at time 0; a task ends when its unit is
   back and it has gone on);
2. every admission and grant of images a .. c lies length_ps before that of the image q further;
3. when image c + q has ended, every operation has vectors of the last image left to grant, and what happens once per
   phase had ended when image a had.

Call the two instants when c and c + q are touched t and t + length_ps. At t all tasks in flight and all waiting
requests belong to images between b and c (1). They were requested after image a had ended, and everything that happened
since then has its counterpart length_ps later (2), round by round, for a round is a matter of what is due; so tasks in
flight, units, requests and their order are the same at both instants but for the shift. What is admitted follows from
what has left and completed. A run differs from one with more images only from the moment at which it has nothing left
to grant to, which comes later (3). Hence a run with k * q more images does the same up to t + length_ps, repeats what
happened between the instants k times, and ends as the simulated one. What becomes of images a .. c + q was decided
before anything ran out (3), so every image from c on recurs as a whole.

Images that were admitted at time 0 wait before all others at both instants, so they need not be shifted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imcsim.timing.engine.accounts import EngineRun, OpLog, per_run
from imcsim.timing.engine.contract import Ints
from imcsim.timing.engine.critical import Period
from imcsim.timing.engine.results import is_ahead

MOST_IMAGES = 64  # of a period


@dataclass(frozen=True)
class _Images:
    """Hold when images are first touched and when they, and all before, have ended: (n_images,) each."""

    touched: Ints
    ended: Ints
    exhausted_ps: int  # when an operation first granted its last vector
    once_ended_ps: int  # when the last operation that happens once per phase had ended


def find_period(run: EngineRun, logs: list[OpLog], n_images: int) -> Period | None:
    """Return the shortest proven period that continues a run to ``n_images`` images, repeated as late as can be."""
    if not any(op.per_image for op in run.job.operations):
        return None
    images = _images_of(run, logs)
    usable = int(np.searchsorted(images.ended, images.exhausted_ps))  # images that ended before anything ran out
    for q in range(1, min(MOST_IMAGES, usable - 3) + 1):
        c = usable - 1 - q
        b = int(np.searchsorted(images.ended, images.touched[c])) - 1
        a = int(np.searchsorted(images.ended, images.touched[b])) - 1 if b > 0 else -1
        if a < 0 or images.once_ended_ps > images.ended[a]:
            continue
        length_ps = int(images.touched[c + q] - images.touched[c])
        if images.ended[a + q] <= images.ended[a] + length_ps and _repeats(run, logs, a, c, q, length_ps):
            repeats = (n_images - run.layout.n_images) // q
            return Period(c, q, repeats, length_ps, int(images.touched[c]))
    return None


def _images_of(run: EngineRun, logs: list[OpLog]) -> _Images:
    n_images = run.layout.n_images
    touched, ended = np.full(n_images, np.iinfo(np.int64).max), np.zeros(n_images, np.int64)
    exhausted_ps, once_ended_ps = np.iinfo(np.int64).max, 0
    for op, log in zip(run.job.operations, logs, strict=True):
        first = log.starts[0] if is_ahead(op) else log.admitted
        last = log.end.copy()
        for stage, starts in zip(op.stages, log.starts, strict=True):
            np.maximum(last, starts + per_run(stage.hold_ps, op, n_images), out=last)
        if not op.per_image:
            once_ended_ps = max(once_ended_ps, int(last.max()))
            continue
        touched = np.minimum(touched, first[:: op.n_vectors])
        ended = np.maximum(ended, last.reshape(n_images, -1).max(axis=1))
        exhausted_ps = min(exhausted_ps, int(log.starts[0, -1]))
    return _Images(touched, np.maximum.accumulate(ended), int(exhausted_ps), once_ended_ps)


def _repeats(run: EngineRun, logs: list[OpLog], a: int, c: int, q: int, length_ps: int) -> bool:
    """Say whether every admission and grant of images a .. c recurs q images and ``length_ps`` later."""
    for op, log in zip(run.job.operations, logs, strict=True):
        if not op.per_image:
            continue
        times = log.starts if is_ahead(op) else np.vstack([log.admitted, log.starts])
        window = times[:, a * op.n_vectors : (c + 1) * op.n_vectors]
        shifted = times[:, (a + q) * op.n_vectors : (c + 1 + q) * op.n_vectors]
        if (window + length_ps != shifted).any():
            return False
    return True
