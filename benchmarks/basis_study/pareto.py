"""Accuracy against cycles, conversions and coefficient bits: one row for every point and way to run it.

Digital: all sums exact, on all test images (the first 2,000 where nothing is trained). Analog: the first images of the
test set through the crossbars and converters of a chip that holds about a quarter of the network, calibrated on
training images without their labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from networks import Network
from points import COEFF_BITS, Point, fitted, trained

import imcsim
from imcsim.functional.trial import Trial
from imcsim.mapping.basis.digital import answers, combined
from imcsim.mapping.basis.fitted import FittedBasis
from imcsim.mapping.basis.summary import WEIGHT_BITS
from imcsim.reporting.figures.style import COLOURS, saved_figure
from imcsim.util.config import canonical_hash
from imcsim.util.files import new_file
from imcsim.util.journal import Journal
from imcsim.util.progress import Progress
from imcsim.workload.datasets import Dataset
from imcsim.workload.quantised import IntegerLayer, load_quantised

HARDWARE, WRITE = "rram-256", "ember2b_word"
TILES = {"resnet8": 2, "resnet20": 4}  # of 8 crossbars: fewer than a quarter of the network takes
IMAGES = {"resnet8": 200, "resnet20": 40}  # through crossbars
ANALOG = {"resnet8": (4, 8, 16), "resnet20": (8, 16, 32, 64)}  # nonzeros of the points whose first seed does so
FITTED_IMAGES = 2000  # of the test set, for points that are not trained
CALIBRATION_IMAGES = 50
DAY_S = 86_400.0
PCM_AGES_S = {"pcm": 20.0, "pcm_day": DAY_S, "pcm_year": 365 * DAY_S}
CELLS: dict[str, dict[str, Any]] = {
    "ideal": {"device": "ideal"},
    "rram": {},  # those of the chip, NeuRRAM's
    "pcm": {"device": "pcm_iterative", "compensation": "global", "ages_s": tuple(PCM_AGES_S.values())},
}
ACCURACIES = ("ideal", "rram", *PCM_AGES_S)
COSTS = {  # column -> key of a report's summary
    "cycles_per_inference": "cycles_per_inference", "conversions_per_inference": "adc_conversions",
    "energy_pj_per_inference": "energy_pj", "edp_latency_pj_ns": "edp_latency_pj_ns",
}  # fmt: skip
SIZES = ("nonzeros", "coeff_bits", "relative_error", "coefficient_bits", "weight_bits")
COLUMNS = (
    "network", "data", "scheme", "seed", *SIZES, *COSTS, "slots", "slots_lower_bound",
    "test_images", "digital_frac", "analog_images", "exact_frac", *(f"{name}_frac" for name in ACCURACIES),
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """How a network runs: a scheme of imcsim, with a point's basis or none, and whether through crossbars too."""

    scheme: str
    point: Point | None
    analog: bool

    @property
    def name(self) -> str:
        return f"{self.scheme}/{self.point.name}" if self.point else self.scheme

    def key(self, work: Path) -> str:
        """Of its row: a basis that was made anew has another one."""
        return f"{self.name}/{canonical_hash(self.point.file(work).read_bytes().hex())}" if self.point else self.name

    def options(self, work: Path) -> dict[str, Any]:
        return {"basis": str(self.point.file(work).resolve())} if self.point else {}


def ways(network: str) -> Iterator[Way]:
    """Reprogramming, and every point with digital and with analog sums; some run through crossbars.

    With analog sums that takes eight times as long and is left out; ``benchmarks/refitting.py`` compares their SNR.
    """
    yield Way("reprogram", None, True)
    points = [*trained(network), *fitted(network)]
    for point in points:
        yield Way("basis_broadcast", point, point.trained == 0 and point.nonzeros in ANALOG[network])
    for point in points:
        yield Way("basisn_inferred", point, False)


def run(network: Network, work: Path, results: Path, progress: Progress) -> None:
    """Rows that are not in the journal yet, then the table of those whose bases are there."""
    journal = Journal(work, f"pareto_{network.name}")
    every = [way for way in ways(network.name) if way.point is None or way.point.file(work).exists()]
    for number, way in enumerate(every):
        progress(number, len(every), way.name)
        if way.key(work) not in journal.entries:
            journal.add(way.key(work), row(network, way, work))
    frame = pd.DataFrame([journal.entries[way.key(work)] for way in every], columns=list(COLUMNS))
    with new_file(results / f"pareto_{network.name}.csv") as partial:
        frame.to_csv(partial, index=False, float_format="%.6g")


def row(network: Network, way: Way, work: Path) -> dict[str, Any]:
    """All figures of one way to run a network; those that do not apply are left out."""
    basis = way.point.basis(work) if way.point else None
    return {
        "network": network.name, "data": network.data_name, "scheme": way.scheme,
        **sizes(network, way.point, basis), **costs(network, way, work),
        **(digital(network, basis) if way.scheme != "basisn_inferred" else {}),  # both give the same sums
        **(analog(network, way, work) if way.analog else {}),
    }  # fmt: skip


def sizes(network: Network, point: Point | None, basis: FittedBasis | None) -> dict[str, Any]:
    layers = load_quantised(network.model).layers
    weight_bits = WEIGHT_BITS * sum(layer.weights.size for layer in layers)
    if point is None or basis is None:
        return {"seed": "none", "weight_bits": weight_bits}
    index_bits = (basis.elements.shape[1] - 1).bit_length()
    stored = sum(int(np.count_nonzero(own.values)) for own in basis.layers.values())
    return {
        "nonzeros": point.nonzeros, "coeff_bits": COEFF_BITS, "weight_bits": weight_bits,
        "seed": "fitted only" if point.trained == "no" else point.trained,
        "relative_error": basis.made_on["errors"][-1] if point.trained == "no" else None,
        "coefficient_bits": stored * (COEFF_BITS + 1 + index_bits),
    }  # fmt: skip


def costs(network: Network, way: Way, work: Path) -> dict[str, Any]:
    """Of one image alone, with expected write times."""
    summary = imcsim.run(
        str(network.model),
        imcsim.Preset(HARDWARE, chip(network)),
        way.scheme,
        write=WRITE,
        options=way.options(work),
    ).summary
    facts: Mapping[str, Any] = summary["facts"]
    slots = {"slots": facts.get("slots_first_fit"), "slots_lower_bound": facts.get("slots_lower_bound")}
    return {column: summary[key] for column, key in COSTS.items()} | slots


def chip(network: Network) -> dict[str, Any]:
    return {"chip.n_tiles": TILES[network.name]}


def digital(network: Network, basis: FittedBasis | None) -> dict[str, Any]:
    """On all test images, and on those that run through crossbars."""
    model, test = load_quantised(network.model), network.images("test")
    multiply = IntegerLayer.sums if basis is None else combined(basis)
    test = test if basis is None or "training" in basis.made_on else test.first(FITTED_IMAGES)
    n, first = len(test.labels), IMAGES[network.name]
    pixels = model.pixels(test, network.mean, network.std)
    rest = Dataset(test.name, test.images[first:], test.labels[first:])
    head = answers(model, test.first(first), pixels[:first], multiply)
    right = head + answers(model, rest, pixels[first:], multiply)
    return {"test_images": n, "digital_frac": right / n, "analog_images": first, "exact_frac": head / first}


def analog(network: Network, way: Way, work: Path) -> dict[str, Any]:
    """Accuracies on each kind of cells."""
    found: dict[str, Any] = {}
    scale = {"mean": network.mean, "std": network.std}
    n, model, ranges = IMAGES[network.name], str(network.model), work / f"ranges_{network.name}.json"
    known, unseen = sample(network, "train", CALIBRATION_IMAGES, work), sample(network, "test", n, work)
    options, overrides = way.options(work), chip(network)
    imcsim.calibrate(
        model,
        imcsim.Preset(HARDWARE, overrides),
        known,
        images=CALIBRATION_IMAGES,
        scheme=way.scheme,
        options=options,
        **scale,
    ).write(ranges)
    for name, cells in CELLS.items():
        trial = Trial(model, unseen, n, calibration_file=ranges, **scale, **cells)
        report = imcsim.run(
            model, imcsim.Preset(HARDWARE, overrides), way.scheme, write=WRITE, options=options, trial=trial
        )  # fmt: skip
        ages = PCM_AGES_S if name == "pcm" else (name,)
        values = report.summary["values"]["ages"]
        found |= {f"{age}_frac": entry["accuracy_frac"] for age, entry in zip(ages, values, strict=True)}
    return found


def sample(network: Network, part: str, n: int, work: Path) -> str:
    """A file with the first images of a part."""
    path = work / f"{network.name}_{part}_{n}.npz"
    if not path.exists():
        images = network.images(part).first(n)
        np.savez(path, images=images.images, labels=images.labels)
    return str(path)


# -- the figure --------------------------------------------------------------------------------------------------------

COLOUR_OF = {"trained": COLOURS[0], "fitted only": COLOURS[1]}
MARKER_OF = {"basis_broadcast": "o", "basisn_inferred": "s"}
SUMS = {"basis_broadcast": "digital sums", "basisn_inferred": "analog sums (inferred)"}
AXES = {
    "coefficient_bits": "coefficients (% of 8-bit weights)",
    "cycles_per_inference": "cycles (% of rewriting layer by layer)",
}


def draw(results: Path, figures: Path) -> None:
    """Digital accuracy against stored bits and against cycles, one row for each network that has a table."""
    found = [results / f"pareto_{name}.csv" for name in TILES if (results / f"pareto_{name}.csv").exists()]
    with saved_figure(figures / "pareto", "pareto", (8.2, 0.8 + 2.7 * len(found))) as (figure, _):
        panels = figure.subplots(len(found), 2, sharey="row", squeeze=False)
        for row, path in zip(panels, found, strict=True):
            table = pd.read_csv(path)
            base = table[table["scheme"] == "reprogram"].iloc[0]
            name = f"{base['network'].replace('resnet', 'ResNet-')}, {base['data'].partition(' (')[0]}"
            row[0].set_ylabel(f"{name}\ncorrect (%), exact sums")
            _panel(row[0], table, base, ["basis_broadcast"], "coefficient_bits")
            _panel(row[1], table, base, list(MARKER_OF), "cycles_per_inference")
        entries = dict(zip(*panels[0, 1].get_legend_handles_labels()[::-1], strict=True))
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3)


def _panel(axes: Any, table: pd.DataFrame, base: Any, schemes: Sequence[str], column: str) -> None:
    """Points of some schemes, labelled with their number of coefficients."""
    exact = table[table["scheme"] == "basis_broadcast"].set_index(["nonzeros", "seed"])["digital_frac"]
    whole = base["weight_bits"] if column == "coefficient_bits" else base[column]
    for scheme, (kind, colour) in product(schemes, COLOUR_OF.items()):
        here = table[(table["scheme"] == scheme) & ((table["seed"] == "fitted only") == (kind == "fitted only"))]
        x = 100 * here[column].to_numpy() / whole
        y = np.array([100 * exact[key] for key in zip(here["nonzeros"], here["seed"], strict=True)])
        label = f"{kind}, {SUMS[scheme]}"
        axes.plot(x, y, MARKER_OF[scheme], color=colour, markersize=5, label=label, alpha=0.85)
        for nonzeros in sorted(set(here["nonzeros"])) if scheme != "basis_broadcast" or len(schemes) == 1 else []:
            at = (here["nonzeros"] == nonzeros).to_numpy()
            side = (-7, 6) if kind == "trained" else (8, -10)
            axes.annotate(f"{nonzeros:.0f}", (x[at].mean(), y[at].mean()), xytext=side, textcoords="offset points",
                          fontsize=8, ha="center", color=colour)  # fmt: skip
    axes.axhline(100 * base["digital_frac"], color="#333333", linewidth=0.9, linestyle="--", label="8-bit network")
    axes.set(xlabel=AXES[column], ylim=(0, 103))
    axes.set_xlim(left=0)
