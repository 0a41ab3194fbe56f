"""HIC-style training on MNIST, Fashion-MNIST and CIFAR-10: what the six claims of its abstract come to here.

    python benchmarks/hic_study/study.py train --mnist FOLDER --fashion FOLDER --cifar FOLDER [--stage widths ...]
    python benchmarks/hic_study/study.py figures
    python benchmarks/hic_study/study.py tables

``train`` resumes where it was left and writes ``results/*.csv``; ``figures`` draws them, ``tables`` prints them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import stages  # noqa: E402
from images import tasks  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["train", "figures", "tables"])
    parser.add_argument("--mnist", type=Path, help="sheets of 3,000 images as PNG, one row each, with labels_70000.npy")
    parser.add_argument("--fashion", type=Path, help="the four idx files of Fashion-MNIST")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 binaries, or two archives of JPEG images by class")
    parser.add_argument("--stage", nargs="*", default=list(stages.STAGES), choices=list(stages.STAGES))
    given = parser.parse_args()
    if given.do != "train":
        import figures

        figures.draw_all() if given.do == "figures" else figures.print_tables()
        return
    for name, task in tasks(given.mnist, given.fashion, given.cifar).items():
        for stage in given.stage:
            stages.STAGES[stage](name, task)


if __name__ == "__main__":
    main()
