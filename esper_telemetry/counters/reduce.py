"""Counts of all ranks in one: an option for trainers that report from one rank only.

By default each rank reports its own counts and the reader adds them, which costs no
collective call at all.
"""

from __future__ import annotations

import os
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
        must be reset, so that every count stands in exactly one place.

    Raises:
        RuntimeError: the group is broken; the cells hold what this rank counted, as before.
    """
    root = dist.get_global_rank(group, 0)
    layout = state.layout
    total = state._replace(buffer=state.buffer.clone())  # a collective that fails half-way spoils a copy
    dist.reduce(total.buffer.narrow(0, 0, layout.int_cells), root, dist.ReduceOp.SUM, group)
    weights, sums, squares, mins, maxs = reals_of(total).unbind(0)
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
    state.buffer.copy_(total.buffer)
    return dist.get_rank() == root


def current_rank() -> int:
    """Return the distributed rank of this process: that of its group, else what torchrun says (RANK), else 0."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() else 0
