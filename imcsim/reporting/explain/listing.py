"""What is shipped, as rows for the terminal or for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imcsim.util.presets import shipped_files

if TYPE_CHECKING:
    from rich.console import Console

Rows = list[dict[str, Any]]


def _workloads() -> Rows:
    from imcsim.workload.workload import SUFFIXES, load_workload

    loaded = [load_workload(name) for name in shipped_files("workloads", SUFFIXES)]
    return [
        {"name": w.name, "layers": len(w.layers), "weights": w.n_weights, "macs": w.n_macs,
         "positions": sum(layer.positions for layer in w.weighted), "description": w.description}
        for w in loaded
    ]  # fmt: skip


def _hardware() -> Rows:
    from imcsim.hardware.hardware import load_hardware

    loaded = [load_hardware(name) for name in shipped_files("hwconfigs")]
    return [
        {"name": h.name, "crossbars": h.n_crossbars, "rows": h.crossbar.rows, "columns": h.crossbar.columns,
         "write": h.cell.write.name, "description": h.description}
        for h in loaded
    ]  # fmt: skip


def _writes() -> Rows:
    from imcsim.util.config import read_yaml

    read = {name: read_yaml(path) for name, path in shipped_files("hwconfigs/write").items()}
    return [{"name": name, "description": str(content.get("description", ""))} for name, content in read.items()]


def _schemes() -> Rows:
    from imcsim.mapping.schemes import registered

    return [
        {"name": name, "options": {key: str(field.default) for key, field in cls.model_fields.items()},
         "description": (cls.__doc__ or "").strip().splitlines()[0]}
        for name, cls in sorted(registered().items())
    ]  # fmt: skip


def _devices() -> Rows:
    from imcsim.hardware.devices import KINDS

    return [
        {"name": name, "options": {key: _default(field) for key, field in cls.model_fields.items() if key != "kind"},
         "description": (cls.__doc__ or "").strip().splitlines()[0]}
        for name, cls in sorted(KINDS.items())
    ]  # fmt: skip


def _default(field: Any) -> str:
    return "needed" if field.is_required() else str(field.default)


LISTS = {"workloads": _workloads, "hardware": _hardware, "writes": _writes, "schemes": _schemes, "devices": _devices}


def print_rows(rows: Rows, console: Console) -> None:
    """Print rows as a table, one column for each key."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="dim")
    for key, value in rows[0].items():
        wide = key in ("options", "description")
        table.add_column(key, no_wrap=not wide, justify="right" if isinstance(value, int) else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
