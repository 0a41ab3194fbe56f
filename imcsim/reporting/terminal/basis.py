"""Show a fitted basis on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from imcsim.mapping.basis.fitted import FittedBasis


def view(basis: FittedBasis) -> Table:
    """Return the rows as a table for the terminal."""
    from rich import box
    from rich.table import Table

    rows: Sequence[Mapping[str, Any]] = basis.made_on["layers"]
    title = f"{basis.elements.shape[1]} vectors of {len(basis.elements)}, {basis.nonzeros} for each kernel segment"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="dim")
    table.add_column("layer", no_wrap=True)
    has_residual = any(row.get("residual_bits") for row in rows)
    shares = ("of 8-bit weights, %", *(["residual, % of bits"] if has_residual else []), "basis rows used, %")
    for heading in ("weights", "error, %", "coefficients", "bits", *shares):
        table.add_column(heading, justify="right")
    for row in rows:
        error, share, used = row["relative_error"], row["bits"] / row["weight_bits"], row["utilisation"]
        counts = [f"{row[key]:,}" for key in ("coefficients", "bits")]
        residual = [f"{100 * row['residual_bits'] / row['bits']:.1f}"] if has_residual else []
        figures = [*counts, f"{100 * share:.1f}", *residual, f"{100 * used:.1f}"]
        table.add_row(
            row["layer"],
            f"{row['weights']:,}",
            f"{100 * error:.1f}",
            *figures,
            end_section=row is rows[-2] if len(rows) > 1 else False,
        )
    table.caption = "error: ||W - W~|| / ||W|| of integer weights; all: of layers scaled to unit mean square"
    return table
