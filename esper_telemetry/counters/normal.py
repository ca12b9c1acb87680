"""From the forms a record may have to one: index columns [H, rows] and mask columns [options, rows].

The joined tensors of many steps come in, or of one; the work is a fixed number of launches.
Nothing here reads a value on the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esper_telemetry.counters.state import CounterState, Heads


def joined(steps: Sequence[Tensor]) -> Tensor:
    """Return the tensors of all steps as one."""
    return torch.cat(list(steps)) if len(steps) > 1 else steps[0]


def index_columns(state: CounterState, steps: Sequence[Heads]) -> Tensor:
    """Return the numbers of the options chosen, from 0 in each head, in a signed type: [H, rows].

    An option that no head has is any other number.
    """
    heads = len(state.names)
    if isinstance(steps[0], Tensor):
        packed = joined(cast("Sequence[Tensor]", steps))
        if packed.dim() == 1:
            return _indices(state, packed.unsqueeze(0))
        if packed.shape[1] == heads:
            return _indices(state, packed.t())
        blocks = packed.split_with_sizes(list(state.widths), 1)
        return torch.stack([_from_one_hot(state, head, block) for head, block in enumerate(blocks)])
    by_head = cast("Sequence[Mapping[str, Tensor]]", steps)
    if all(part.dim() == 1 for part in by_head[0].values()):  # the usual form: one call for all heads
        return _indices(state, torch.cat([step[name] for name in state.names for step in by_head]).view(heads, -1))
    columns = [joined([step[name] for step in by_head]) for name in state.names]
    return torch.stack([_column(state, head, column) for head, column in enumerate(columns)])


def mask_columns(state: CounterState, steps: Sequence[Heads]) -> list[Tensor]:
    """Return the masks as bool column-major blocks [options, rows], to be joined into one."""
    if isinstance(steps[0], Tensor):
        packed = joined(cast("Sequence[Tensor]", steps))
        return [_flags(packed.flatten(1).t())]
    by_head = cast("Sequence[Mapping[str, Tensor]]", steps)
    return [_flags(joined([step[name] for step in by_head]).t()) for name in state.names]


def _flags(masks: Tensor) -> Tensor:
    return masks if masks.dtype == torch.bool else masks == 1


def _indices(state: CounterState, columns: Tensor) -> Tensor:
    if columns.is_floating_point():
        raise ValueError(f"actions are {columns.dtype}; give integers")
    if state.first is not None:
        return columns.to(torch.int64) - state.first
    # -1 has no place in an unsigned type
    return columns.to(torch.int16) if columns.dtype in (torch.uint8, torch.bool) else columns


def _column(state: CounterState, head: int, column: Tensor) -> Tensor:
    """Return the option numbers of one head [rows], int64."""
    if column.dim() > 1 and column.shape[1] > 1:
        return _from_one_hot(state, head, column)
    numbers = column.reshape(-1).to(torch.int64)
    return numbers if state.first is None else numbers - state.first[head]


def _from_one_hot(state: CounterState, head: int, block: Tensor) -> Tensor:
    """Return the option of each row [rows, K], int64; -1 where not exactly one entry differs from 0."""
    chosen = (block != 0).t()
    start = sum(state.widths[:head])
    numbers = state.local.narrow(0, start, state.widths[head])
    number = torch.where(chosen, numbers, 0).sum(0)
    return torch.where(chosen.sum(0) == 1, number, -1)
