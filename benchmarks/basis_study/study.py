"""The basis study: what a basis costs, what it answers, when it beats rewriting weights. Every stage can be resumed.

    python benchmarks/basis_study/study.py [STAGE ...] [--fashion FOLDER] [--cifar FOLDER --resnet20 MODEL.onnx]

Stages, in order: fit, train (needs the extra `train`), pareto, claim, crossover, sparsity, lifetime, writes, figures;
all of them without any name. FOLDER of --fashion: the idx files of Fashion-MNIST; of --cifar: the binaries of CIFAR-10
or the archives cifar10_jpeg_{train,test}.tar.xz; MODEL.onnx: a quantised ResNet-20. Networks without images are left
out of the first three stages. Tables go to benchmarks/basis_study/results, figures to docs/figures, bases to --work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import claim
import crossover_map
import lifetime
import pareto
import points
import sparsity
import writes
from networks import networks

from imcsim.util.errors import ImcsimError
from imcsim.util.progress import Progress, bar

HERE = Path(__file__).resolve().parent
RESULTS, FIGURES = HERE / "results", HERE.parents[1] / "docs" / "figures"

Stage = Callable[[Progress], None]
DRAWN = {"pareto_*.csv": pareto.draw, "crossover.csv": crossover_map.draw, "lifetime.csv": lifetime.draw}


def stages(arguments: argparse.Namespace) -> dict[str, Stage]:
    """What each stage does, by name."""
    work: Path = arguments.work
    known = networks(arguments.fashion, arguments.cifar, arguments.resnet20)

    def each(do: Callable[..., None], *more: Path) -> Stage:
        def stage(progress: Progress) -> None:
            for network in known.values():
                do(network, work, *more, progress)

        return stage

    return {
        "fit": each(points.fit),
        "train": each(points.train),
        "pareto": each(pareto.run, RESULTS),
        "claim": lambda progress: claim.run(RESULTS, progress),
        "crossover": lambda progress: crossover_map.run(RESULTS, progress),
        "sparsity": lambda progress: sparsity.run(RESULTS, progress),
        "lifetime": lambda progress: lifetime.run(RESULTS, progress),
        "writes": lambda progress: writes.run(RESULTS, progress, arguments.resnet20),
        "figures": lambda progress: figures(),
    }


def figures() -> None:
    """All that can be drawn from the tables that are there."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for tables, draw in DRAWN.items():
        if list(RESULTS.glob(tables)):
            draw(RESULTS, FIGURES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE")
    parser.add_argument("--fashion", type=Path, metavar="FOLDER")
    parser.add_argument("--cifar", type=Path, metavar="FOLDER")
    parser.add_argument("--resnet20", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--work", type=Path, metavar="FOLDER", default=Path("imcsim-runs/basis_study"))
    arguments = parser.parse_args()
    try:
        _run(arguments, parser)
    except ImcsimError as error:
        parser.error(str(error))


def _run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    known = stages(arguments)
    unknown = [name for name in arguments.stages if name not in known]
    if unknown:
        parser.error(f"there is no stage '{unknown[0]}'; there are {', '.join(known)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.stages or known:
        with bar(name) as progress:
            known[name](progress)


if __name__ == "__main__":
    main()
