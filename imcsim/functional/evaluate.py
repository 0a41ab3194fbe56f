"""What a network answers on a chip: real images through crossbars of real cells, written as the plan writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from imcsim.functional.chip import WrittenChip
from imcsim.functional.evaluator import Evaluator
from imcsim.functional.reading import Reading
from imcsim.functional.summaries import activity_of, age_entry, chip_entry, layer_entry, refit_entry, writes_entry
from imcsim.functional.trial import Trial
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.activity import Activity
from imcsim.mapping.plan import Plan
from imcsim.mapping.write_work import Works
from imcsim.util.journal import Journal
from imcsim.util.progress import Progress, silent


@dataclass(frozen=True)
class EvaluationResult:
    """Hold what images showed.

    ``entry``: ``values`` of a report. ``works``: of the plan's writes.

    ``chip``, ``reading``: of the first chip at the first age, for its figures. ``rewritten``: the contents of its
    crossbars that are always fresh.
    """

    entry: dict[str, Any]
    works: Works
    activity: Mapping[str, Activity]
    chip: WrittenChip
    reading: Reading
    rewritten: frozenset[str]
    journal: Journal


def evaluate(trial: Trial, plan: Plan, hardware: Hardware, seed: int, progress: Progress = silent) -> EvaluationResult:
    """Write the chips as the plan says and run the images through them, age by age.

    Raises ImcsimError for whatever does not fit together.
    """
    trial.check()
    evaluator = Evaluator(trial, plan, hardware)
    chips = {number: evaluator.write(number, progress) for number in range(seed, seed + trial.chips)}
    journal = Journal(trial.journal, evaluator.identity)
    answers = evaluator.run(chips, journal, progress)
    by_age = {age_s: [value for (_, at_s), value in answers.items() if at_s == age_s] for age_s in evaluator.ages_s}
    first = by_age[evaluator.ages_s[0]]
    layers = reduce(add, first).layers
    used = answers[seed, evaluator.ages_s[0]].layers
    activity = {name: activity_of(counts) for name, counts in used.items() if counts.chargeable}
    chip = chips[seed]
    entry = {
        **evaluator.settings,
        **age_entry(evaluator.ages_s[0], first),
        "exact_accuracy_frac": first[0].exact_accuracy_frac,
        "ages": [age_entry(age_s, values) for age_s, values in by_age.items()],
        "chips": [chip_entry(number, age_s, value) for (number, age_s), value in answers.items()],
        "layers": [layer_entry(name, counts) for name, counts in layers.items()],
        "refits": [refit_entry(number, refit) for number, refit in evaluator.refits.items()],
        "writes": writes_entry(chip),
    }
    reading = evaluator.reading(seed, evaluator.ages_s[0])
    return EvaluationResult(entry, chip.works, activity, chip, reading, evaluator.layout.rewritten, journal)
