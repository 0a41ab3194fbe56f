"""Crossbar groups and the ADCs behind them: for how long a vector holds them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from imcsim.converters import Pooled
from imcsim.engine.contract import Resource
from imcsim.floorplan import own_groups
from imcsim.hardware import Hardware
from imcsim.plan import Region
from imcsim.steps import Step, Time


def array_steps(
    name: str, region: Region, work: Collection[tuple[int, int]], hw: Hardware, settle_cycles: Time = 0
) -> tuple[Step, ...]:
    """The crossbar group ``name``, and the ADC pool behind it where crossbars share one.

    ``work``: (input phases, columns converted in each) of every crossbar of one copy. ``settle_cycles``: what a phase
    takes at least, a number or one for each vector. With private ADCs conversion is part of the group's time, and the
    last phase leaves it one tau after its evaluation began. With a pool, the group passes its first phase on after one
    tau and the pool converts the phases of all its crossbars in turn; whoever lies in the same pool waits.
    """
    period, depth, sharing = hw.period_ps, hw.crossbar.shift_add_cycles, hw.tile.adc.sharing
    group = Resource(f"crossbars[{name}]", "crossbar", region.copies)
    tau = hw.phase_cycles(max(columns for _, columns in work))
    if not isinstance(sharing, Pooled):
        hold = _hold(work, 1, hw, settle_cycles)
        return (Step(group, hold * period, (hold + tau + depth) * period),)
    share = own_groups(region, sharing.crossbars_per_pool)
    crowd = -(-region.crossbars // max(1, share.whole // share.served_at_once))
    hold = _hold(work, crowd, hw, settle_cycles)
    pool = Resource(f"adc[{name}]" if share.whole > 1 else f"adc[pool {share.first}]", "adc", share.served_at_once)
    return Step(group, hold * period, tau * period), Step(pool, hold * period, (hold + depth) * period)


def _hold(work: Collection[tuple[int, int]], crowd: int, hw: Hardware, settle_cycles: Time) -> Time:
    """Cycles until the slowest crossbar can take the next vector, where ``crowd`` of them share their ADCs."""
    each = [phases * np.maximum(hw.phase_cycles(crowd * columns), settle_cycles) for phases, columns in work]
    longest = np.maximum.reduce(each)
    return longest if np.ndim(longest) else int(longest)
