"""Counts of all ranks in one: an option for trainers that report from one rank only.

By default each rank reports its own counts and the reader adds them, which costs no
collective call at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from esper_telemetry.counters.moments import reals_of

if TYPE_CHECKING:
    from esper_telemetry.counters.state import CounterState


def reduce_to_root_(state: CounterState, group: dist.ProcessGroup) -> bool:
    """Add the cells of all ranks of `group` into those of its first rank; a collective call.

    Returns:
        True on the first rank, whose cells now hold all counts. The cells of the others
        are undefined and must be reset, so that every count stands in exactly one place.
    """
    root = dist.get_global_rank(group, 0)
    layout = state.layout
    dist.reduce(state.buffer.narrow(0, 0, layout.int_cells), root, dist.ReduceOp.SUM, group)
    weights, sums, squares, mins, maxs = reals_of(state).unbind(0)
    if weights.shape[0]:
        mine, moments = sums / weights, torch.stack([weights, sums])
        dist.all_reduce(moments, dist.ReduceOp.SUM, group)
        # A rank's squares about the mean of all ranks are those about its own, and its weight times the distance.
        apart = mine - moments[1] / moments[0]
        squares.add_(torch.where(weights > 0.0, weights * apart * apart, 0.0))
        dist.reduce(squares, root, dist.ReduceOp.SUM, group)
        dist.reduce(mins, root, dist.ReduceOp.MIN, group)
        dist.reduce(maxs, root, dist.ReduceOp.MAX, group)
        weights.copy_(moments[0])
        sums.copy_(moments[1])
    return dist.get_rank() == root


def current_rank() -> int:
    """Return the distributed rank of this process; 0 where nothing is distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
