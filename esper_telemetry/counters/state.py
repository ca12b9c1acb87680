"""The accumulators of a bank and the constants of its spec, made once on one device, and how ranks add them.

By default each rank reports its own counts and the reader adds them, which costs no
collective call at all; `reduce_to_root_` is for trainers that report from one rank only.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from esper_telemetry.counters.cells import CellLayout, layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.counters.spec import CounterSpec

Heads: TypeAlias = "Tensor | Mapping[str, Tensor]"

_INT8_OPTIONS = 127


class CounterState(NamedTuple):
    """Accumulators of a bank and the constants of its spec, all on one device.

    Attributes:
        buffer: int64 [cells]: the accumulators; those of scalars hold float64 bits (see `CellLayout`).
        head_of: int64 [S]: the head of each option.
        local: int8 or int16 [S, 1]: number of each option in its head.
        padded: int64 [H * K], K the widest head: row of each option, that of the blank cell where a head is narrower.
        sizes: uint8 or int16 [H, 1]: options of each head.
        blank: bool [1, 1]: False.
        unit, nil: float64 [1]: the weight of a value that was given none, and of padding.
        cells: the int64 cells of `buffer`, each a view [1].
        thresholds: per histogram float64 [edges + 1, 1]: largest value below each edge, then infinity.
        first: int64 [H, 1]: number of the first option of each head; None where all are 0.
        layout: positions of the cells.
        names: the heads.
        widths: options of each head.
    """

    buffer: Tensor
    head_of: Tensor
    local: Tensor
    padded: Tensor
    sizes: Tensor
    blank: Tensor
    unit: Tensor
    nil: Tensor
    cells: tuple[Tensor, ...]
    thresholds: tuple[Tensor, ...]
    first: Tensor | None
    layout: CellLayout
    names: tuple[str, ...]
    widths: tuple[int, ...]


def new_state(spec: CounterSpec, device: torch.device | str) -> CounterState:
    """Return empty accumulators for `spec` on `device`."""
    layout = layout_of(spec)
    widths = [len(options) for options in spec.heads.values()]
    widest = max(widths, default=0)
    offsets = list(spec.option_offsets.values())
    padded = [
        o + i if i < w else spec.option_count for o, w in zip(offsets, widths, strict=True) for i in range(widest)
    ]
    narrow = widest <= _INT8_OPTIONS
    firsts = [spec.first.get(head, 0) for head in spec.heads]
    with torch.device("cpu"):  # whatever the default device is: constants are made here and copied once
        cells = torch.zeros(layout.cells, dtype=torch.int64)
        reals = cells[layout.mins :].view(torch.float64)
        reals[: layout.maxs - layout.mins] = math.inf
        reals[layout.maxs - layout.mins :] = -math.inf
        head_of = torch.tensor([h for h, w in enumerate(widths) for _ in range(w)], dtype=torch.int64)
        local = torch.tensor([i for w in widths for i in range(w)], dtype=torch.int8 if narrow else torch.int16)
        sizes = torch.tensor(widths, dtype=torch.uint8 if narrow else torch.int16)
        thresholds = [
            torch.tensor([*(math.nextafter(edge, -math.inf) for edge in edges), math.inf], dtype=torch.float64)
            for edges in spec.histograms.values()
        ]
        buffer = cells.to(device)
        return CounterState(
            buffer=buffer,
            head_of=head_of.to(device),
            local=local[:, None].to(device),
            padded=torch.tensor(padded, dtype=torch.int64).to(device),
            sizes=sizes[:, None].to(device),
            blank=torch.zeros((1, 1), dtype=torch.bool).to(device),
            unit=torch.ones(1, dtype=torch.float64).to(device),
            nil=torch.zeros(1, dtype=torch.float64).to(device),
            cells=tuple(buffer[: layout.int_cells].split_with_sizes([1] * layout.int_cells)),
            thresholds=tuple(edges[:, None].to(device) for edges in thresholds),
            first=torch.tensor(firsts, dtype=torch.int64)[:, None].to(device) if any(firsts) else None,
            layout=layout,
            names=tuple(spec.heads),
            widths=tuple(widths),
        )


def add_totals_(state: CounterState, totals: Mapping[int, int]) -> None:
    """Add numbers the host knows (steps, rows, values recorded) to their cells: one launch for all."""
    if totals:
        torch._foreach_add_([state.cells[cell] for cell in totals], list(totals.values()))


def reals_of(state: CounterState) -> Tensor:
    """Return the float64 cells of a bank by row: weights, sums, squares, mins, maxs; [5, V]."""
    layout = state.layout
    return state.buffer.narrow(0, layout.weights, layout.cells - layout.weights).view(torch.float64).view(5, -1)


def reduce_to_root_(state: CounterState, group: dist.ProcessGroup) -> bool:
    """Add the cells of all ranks of `group` into those of its first rank; a collective call.

    Returns:
        True on the first rank, whose cells now hold all counts. The cells of the others
        must be reset, so that every count is stored in exactly one place.

    Raises:
        RuntimeError: the group is broken; the cells hold what this rank counted, as before.
    """
    root = dist.get_global_rank(group, 0)
    layout = state.layout
    total = state._replace(buffer=state.buffer.clone())  # a collective that fails changes a copy only
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
    """Return the distributed rank of this process: that of its group, else that of torchrun (RANK), else 0."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdecimal() else 0
