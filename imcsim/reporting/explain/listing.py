"""What there is, shipped and of installed packages, as rows for the terminal or for JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imcsim.util.errors import ImcsimError
from imcsim.util.presets import YAML_SUFFIXES, KnownFile, broken_packages, known_files, only

if TYPE_CHECKING:
    from rich.console import Console

    from imcsim.util.registry import Registry

Row = dict[str, Any]
Rows = list[Row]


# -- files -------------------------------------------------------------------------------------------------------------


def _workloads() -> Rows:
    from imcsim.workload.workload import SUFFIXES, load_workload

    def describe(preset: KnownFile) -> Row:
        network = load_workload(preset.path)
        positions = sum(layer.positions for layer in network.weighted)
        return {
            "layers": len(network.layers),
            "weights": network.n_weights,
            "macs": network.n_macs,
            "positions": positions,
            "description": network.description,
        }

    return _presets("workloads", SUFFIXES, describe)


def _hardware() -> Rows:
    from imcsim.hardware.hardware import load_hardware

    def describe(preset: KnownFile) -> Row:
        hardware = load_hardware(str(preset.path))
        return {
            "crossbars": hardware.n_crossbars,
            "rows": hardware.crossbar.rows,
            "columns": hardware.crossbar.columns,
            "write": hardware.cell.write.name,
            "description": hardware.description,
        }

    return _presets("hwconfigs", YAML_SUFFIXES, describe)


def _writes() -> Rows:
    from imcsim.util.config import read_yaml

    def describe(preset: KnownFile) -> Row:
        return {"description": str(read_yaml(preset.path).get("description", ""))}

    return _presets("hwconfigs/write", YAML_SUFFIXES, describe)


def _presets(kind: str, suffixes: tuple[str, ...], describe: Callable[[KnownFile], Row]) -> Rows:
    """Return a row for each file, and one that says what is wrong for each that nobody can use."""
    rows = []
    for name, presets in known_files(kind, suffixes).items():
        try:
            row = describe(only(presets, name))
        except ImcsimError as error:
            row = {"description": f"cannot be used: {error}"}
        rows.append({"name": name, "from": " and ".join(preset.package for preset in presets), **row})
    rows += [{"name": "?", "from": error.where, "description": str(error)} for error in broken_packages()]
    return rows


# -- classes -----------------------------------------------------------------------------------------------------------


def _schemes() -> Rows:
    from imcsim.mapping.schemes import SCHEMES

    return _kinds(SCHEMES, ())


def _devices() -> Rows:
    from imcsim.hardware.devices import DEVICES

    return _kinds(DEVICES, ("kind",))


def _adcs() -> Rows:
    from imcsim.hardware.adcs import ADCS

    return _kinds(ADCS, ("kind",))


def _write_circuits() -> Rows:
    from imcsim.hardware.write_circuits import WRITE_CIRCUITS

    return _kinds(WRITE_CIRCUITS, ("kind", "name", "description"))


def _kinds(registry: Registry[Any], hidden: tuple[str, ...]) -> Rows:
    """Return a row for each class of a registry, with its options but the ``hidden`` ones."""
    return [_kind(registry, name, hidden) for name in registry.origins]


def _kind(registry: Registry[Any], name: str, hidden: tuple[str, ...]) -> Row:
    row = {"name": name, "from": " and ".join(origin.place for origin in registry.origins[name])}
    try:
        cls = registry.find(name)
    except ImcsimError as error:
        return {**row, "options": {}, "description": f"cannot be used: {error}"}
    options = {key: _default(field) for key, field in cls.model_fields.items() if key not in hidden}
    return {**row, "options": options, "description": (cls.__doc__ or "").strip().partition("\n")[0]}


def _default(field: Any) -> str:
    return "needed" if field.is_required() else str(field.default)


LISTS = {
    "workloads": _workloads,
    "hardware": _hardware,
    "writes": _writes,
    "schemes": _schemes,
    "devices": _devices,
    "adcs": _adcs,
    "write-circuits": _write_circuits,
}


# -- printing ----------------------------------------------------------------------------------------------------------


def print_rows(rows: Rows, console: Console) -> None:
    """Print rows as a table, one column for each key."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="dim")
    columns = max(rows, key=len)  # what cannot be used has fewer
    for key, value in columns.items():
        wide = key in ("from", "options", "description")
        table.add_column(key, no_wrap=not wide, justify="right" if isinstance(value, int) else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(key, "")) for key in columns))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
