"""Give all figures one look: colours, sizes, files, legends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imcsim.util.files import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = (  # of Okabe and Ito, told apart by colour-blind readers too; in the end two more
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F",
)  # fmt: skip


MARKERS = "osD^vPX*h"


GREY = "#bbbbbb"


PANEL_INCHES = (4.2, 3.5)


STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.edgecolor": "#555555",
    "legend.frameon": False, "svg.fonttype": "none", "svg.hashsalt": "imcsim",
}  # fmt: skip


@contextmanager
def saved_figure(path: str | Path, name: str, inches: tuple[float, float]) -> Iterator[tuple[Figure, list[Path]]]:
    """Open an empty figure that is saved when the block ends; the list is filled with the files."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stem = Path(path) / name if Path(path).is_dir() else Path(path)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        files: list[Path] = []
        FigureCanvasAgg(figure)
        yield figure, files
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            target = stem.with_name(stem.name + suffix)
            with new_file(target) as partial:
                figure.savefig(partial, dpi=200, metadata=metadata)
            files.append(target)


def legend_below(figure: Figure, panels: Sequence[Axes], width: int) -> None:
    """Draw one legend for all panels, below them."""
    pairs = [pair for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    entries = {label: handle for handle, label in pairs}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), 3 * width))
