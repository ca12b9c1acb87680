"""Counts of all ranks in one: an option for trainers that report from one rank only.

By default each rank reports its own counts and the reader adds them, which costs no
collective call at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

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
    values = layout.mins - layout.sums
    if values:
        reals = state.buffer.narrow(0, layout.sums, layout.cells - layout.sums).view(torch.float64)
        for part, operation in enumerate((dist.ReduceOp.SUM, dist.ReduceOp.MIN, dist.ReduceOp.MAX)):
            dist.reduce(reals.narrow(0, part * values, values), root, operation, group)
    return dist.get_rank() == root


def current_rank() -> int:
    """Return the distributed rank of this process; 0 where nothing is distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
