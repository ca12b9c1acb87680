"""The deferred device work: the tensors of many steps in, sums in a bank's cells, without one host wait.

A record may have several forms (see `forms`); first they become one: index columns [H, rows] and
mask columns [options, rows]. Then all is column-major, a row of flags per cell: gathers and
compares are copies of whole rows, and eight decisions are summed as the bytes of one int64
(measured on one core at 131,072 decisions of 41 options: 12 times faster than a row of flags per
decision, summed with sum). Compare and sum, never scatter: an index out of range is a missing
count and not a device assert. Nothing here reads a value on the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from esper_telemetry.counters.cells import INVALID_ROWS, GivenParts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esper_telemetry.counters.state import CounterState, Heads

# Bytes of one int64: that many flags are summed at a time, at most 255 of each before a byte is full.
_LANES = 8
_LANE_MAX = 255


class Folded(NamedTuple):
    """What a fold leaves behind for step detail.

    Attributes:
        indices: int8 or int16 [H, >= rows]: the option chosen, outside 0 to K-1 where it was none; None
            without actions.
        flags: bool [cells of the part, >= rows].
        took: bool [rows]: the action took effect; None without success.
        decided: bool [rows]: the row was a decision; None where all were.
        first: cell of the first row of `flags`.
        rows: decisions folded.
    """

    indices: Tensor | None
    flags: Tensor
    took: Tensor | None
    decided: Tensor | None
    first: int
    rows: int


def padded_rows(rows: int) -> tuple[int, int, int]:
    """Return (span, groups, words): `rows` rounded up so that groups of at most 255 int64 words cover it exactly."""
    words = max(1, -(-rows // _LANES))
    groups = -(-words // _LANE_MAX)
    words = -(-words // groups)
    return _LANES * groups * words, groups, words


def fold_(
    state: CounterState,
    actions: Sequence[Heads],
    masks: Sequence[Heads],
    success: Sequence[Tensor],
    workspace: Workspace,
    *,
    valid: Sequence[Tensor] = (),
    owned: bool = False,
) -> Folded:
    """Count T steps in place, all of one form; an empty sequence means that part was not recorded.

    Args:
        state: accumulators, changed in place; the totals are left to `add_totals_`.
        actions: T times any form of `forms`; B may differ between steps.
        masks: likewise.
        success: T times [B]; needs actions.
        workspace: gives the memory for it, the flags and indices of the result included.
        valid: T times [B]: False rows count in no flag, and the totals of rows are added here.
        owned: the actions may be written into: a new tensor of their size takes 20 times the work that is done in it.

    Raises:
        ValueError: the parts have different numbers of rows.
    """
    layout = state.layout
    part = GivenParts(bool(actions), bool(masks), bool(success))
    cells = layout.columns(part)
    chosen = _chosen_columns(state, actions, owned=owned or len(actions) > 1) if actions else None
    allowed = mask_columns(state, masks) if masks else None
    took, decided = (joined(steps) if steps else None for steps in (success, valid))
    counts = {one.shape[-1] for one in (chosen, took, decided, *(allowed or [])[:1]) if one is not None}
    if len(counts) != 1:
        raise ValueError(f"actions, masks, success and valid have different numbers of rows: {sorted(counts)}")
    rows = counts.pop()
    span, groups, words = padded_rows(rows)
    flags = workspace.empty("flags", cells.stop - cells.start, span, torch.bool)
    if span > rows:
        flags.narrow(1, rows, span - rows).zero_()
    whole = _sections(state, part, flags)
    exact = whole if span == rows else _sections(state, part, flags.narrow(1, 0, rows))
    if allowed is not None:
        torch.cat(allowed, out=exact["valid"])
        options = flags.narrow(0, layout.valid - cells.start, layout.blank + 1 - layout.valid)
        _mark_heads(state, options, whole, workspace)
    indices = None
    if chosen is not None:
        indices = workspace.empty("indices", len(state.names), span, state.local.dtype)
        used = indices if span == rows else indices.narrow(1, 0, rows)
        used.copy_(chosen)
        of_option = workspace.empty("of_option", state.local.shape[0], rows, state.local.dtype)
        torch.index_select(used, 0, state.head_of, out=of_option)
        torch.eq(of_option, state.local, out=_as_compared(exact["chosen"], of_option))
        if took is not None:
            torch.logical_and(exact["chosen"], took, out=exact["succeeded"])
        if allowed is not None:
            torch.logical_and(whole["chosen"], whole["valid"], out=whole["chosen_valid"])
    if decided is not None:
        used_flags = flags.narrow(1, 0, rows)
        torch.logical_and(used_flags, decided, out=used_flags)
        _add_decided(state, part, decided)
    sums = flags.view(torch.int64).view(-1, groups, words).sum(2).view(torch.uint8).sum(1)
    state.buffer.narrow(0, cells.start, cells.stop - cells.start).add_(sums)
    return Folded(indices, flags, took, decided, cells.start, rows)


def _add_decided(state: CounterState, part: GivenParts, decided: Tensor) -> None:
    """Add the rows that were decisions to the totals, and take them off the invalid ones, which have all rows."""
    number = decided.sum()
    state.buffer.narrow(0, part.rows.start, part.rows.stop - part.rows.start).add_(number)
    state.buffer.narrow(0, INVALID_ROWS, 1).add_(number, alpha=-1)


def _chosen_columns(state: CounterState, steps: Sequence[Heads], *, owned: bool) -> Tensor:
    """Return the options chosen, [H, rows], clamped so that what is out of range stays so in a narrow type."""
    columns = index_columns(state, steps)
    most = torch.iinfo(state.local.dtype).max
    return columns.clamp_(-1, most) if owned else columns.clamp(-1, most)


def _sections(state: CounterState, part: GivenParts, flags: Tensor) -> dict[str, Tensor]:
    """Return the rows of `flags` by name: one call for all of them."""
    sizes = state.layout.sections(part)
    return dict(zip(sizes, flags.split_with_sizes(list(sizes.values())), strict=True))


def _mark_heads(state: CounterState, options: Tensor, sections: dict[str, Tensor], workspace: Workspace) -> None:
    """Fill nonempty, forced and free from the number of valid options in each row.

    Args:
        state: knows which options a head has.
        options: bool [S + 1, span]: the valid ones, and the blank row.
        sections: where the flags go.
        workspace: gives the memory for it.
    """
    heads = len(state.names)
    sections["blank"].zero_()
    span = options.shape[1]
    by_head = workspace.empty("by_head", state.padded.shape[0], span, torch.uint8)
    torch.index_select(options.view(torch.uint8), 0, state.padded, out=by_head)
    count = workspace.empty("count", heads, span, state.sizes.dtype)
    torch.sum(by_head.view(heads, state.padded.shape[0] // heads, span), 1, dtype=count.dtype, out=count)
    torch.ge(count, 1, out=_as_compared(sections["nonempty"], count))
    torch.eq(count, 1, out=_as_compared(sections["forced"], count))
    torch.eq(count, state.sizes, out=_as_compared(sections["free"], count))


def _as_compared(flags: Tensor, compared: Tensor) -> Tensor:
    """Return `flags` as the type that is compared, if it is as narrow.

    The CPU compares in vectors only where the result has the type of what is compared (measured: 18 times faster
    than into bool); true is 1 in either.
    """
    return flags.view(compared.dtype) if compared.dtype.itemsize == 1 else flags


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


class Workspace:
    """Scratch tensors by name; each is valid until the same name is asked for again.

    Args:
        device: of the bank.
        limit: bytes above which a tensor is not kept.
    """

    def __init__(self, device: torch.device, limit: int) -> None:
        self._device = device
        self._limit = limit if device.type == "cpu" else 0
        self._kept: dict[str, Tensor] = {}

    def empty(self, name: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Return a tensor [rows, columns] of any content."""
        size = rows * columns
        if size * dtype.itemsize > self._limit:
            return torch.empty((rows, columns), dtype=dtype, device=self._device)
        kept = self._kept.get(name)
        if kept is None or kept.shape[0] < size:
            with torch.inference_mode(mode=False):  # an inference tensor could not be written to outside that mode
                kept = self._kept[name] = torch.empty(size, dtype=dtype, device=self._device)
        return kept.as_strided((rows, columns), (columns, 1))
