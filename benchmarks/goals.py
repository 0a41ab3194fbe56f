"""How benchmarks print a figure beside its goal."""

from __future__ import annotations


def report(name: str, value: float, unit: str, goal: float, at_least: bool = True) -> bool:
    """Print a line; whether the goal was met."""
    is_met = value >= goal if at_least else value <= goal
    sign = ">=" if at_least else "<="
    print(f"{name:<56}{value:>12,.4g} {unit:<8} goal {sign} {goal:,.4g}  {'met' if is_met else 'MISSED'}")
    return is_met
