"""Tell for how long a vector holds crossbar groups and the ADCs behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imcsim.hardware.adcs import Pooled
from imcsim.hardware.hardware import Hardware
from imcsim.mapping.floorplan import own_groups
from imcsim.mapping.plan import Region
from imcsim.timing.engine.contract import Resource
from imcsim.timing.engine.resource_kind import ResourceKind
from imcsim.timing.recipes.steps import Step, Time

Work = Sequence[tuple[int, int]]
"""(input phases, columns converted in each) of crossbars"""


def array_steps(
    name: str, region: Region, work: Work, hw: Hardware, settle_cycles: Time = 0, bank: str = ""
) -> tuple[Step, ...]:
    """Return the steps on the crossbar group ``name`` and on the ADC pool behind it, where crossbars share one.

    ``work``: of every crossbar of one copy. ``bank``: which of several pools. ``settle_cycles``: what a phase takes at
    least, a number or one for each vector. With private ADCs conversion is part of the group's time, and the conversion
    of the last phase ends one tau after its evaluation. With a pool, the group passes its first phase on after one tau
    and the pool converts the phases of all its crossbars in turn; whoever lies in the same pool waits.
    """
    period, depth, sharing = hw.period_ps, hw.crossbar.shift_add_cycles, hw.tile.adc.sharing
    group = Resource(f"crossbars[{name}]", ResourceKind.CROSSBAR, region.copies)
    tau = hw.phase_cycles(max(columns for _, columns in work))
    if not isinstance(sharing, Pooled):
        hold = _longest([_hold([crossbar], hw, settle_cycles) for crossbar in set(work)])
        return (Step(group, hold * period, (hold + tau + depth) * period),)
    share = own_groups(region, sharing.crossbars_per_pool)
    crowd = -(-region.crossbars // max(1, share.n_groups // share.served_at_once))
    pools = {tuple(work[start : start + crowd]) for start in range(0, len(work), crowd)}
    hold = _longest([_hold(pool, hw, settle_cycles) for pool in pools])
    place = name if share.n_groups > 1 else f"pool {share.first}"
    pool = Resource(f"adc[{place}{bank}]", ResourceKind.ADC, share.served_at_once)
    return Step(group, hold * period, tau * period), Step(pool, hold * period, (hold + depth) * period)


def _hold(sharers: Work, hw: Hardware, settle_cycles: Time) -> Time:
    """Return the cycles until crossbars that share their ADCs, phase by phase, can take the next vector."""
    hold: Time = 0
    done = 0
    for phases in sorted({phases for phases, _ in sharers}):
        columns = sum(columns for its, columns in sharers if its > done)
        hold = hold + (phases - done) * np.maximum(hw.phase_cycles(columns), settle_cycles)
        done = phases
    return hold


def _longest(holds: list[Time]) -> Time:
    longest = holds[0]
    for hold in holds[1:]:
        longest = np.maximum(longest, hold)
    return longest if isinstance(longest, np.ndarray) else int(longest)
