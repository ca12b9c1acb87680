"""One step or value into a bank's cells at once, in operations that torch.compile fuses and CUDA graphs capture.

The same cells as `fold`, bit for bit, without its preparation for many steps. Values of
scalars and histograms are summed here for both.

Compare and sum, never scatter: an index out of range is then a missing count and not a
device assert. Every accumulator is int64, or float64 for the values of scalars.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from esper_telemetry.counters.layout import Part

if TYPE_CHECKING:
    from esper_telemetry.counters.state import CounterState, Heads


def update_(
    state: CounterState,
    actions: Heads | None = None,
    masks: Heads | None = None,
    success: Tensor | None = None,
) -> None:
    """Count one step in place: for torch.compile(fullgraph=True), CUDA graphs and mode="inline".

    Args:
        state: accumulators, changed in place.
        actions: integers: packed [B, H], or head → [B].
        masks: bool, True = valid: packed [B, S], or head → [B, K].
        success: bool [B]: the action took effect. Counted with actions only.
    """
    layout, names = state.layout, state.names
    columns: list[Tensor] = []
    chosen: Tensor | None = None
    rows = 0
    if actions is not None:
        indices = actions.t() if isinstance(actions, Tensor) else torch.stack([actions[name] for name in names])
        rows = indices.shape[1]
        chosen = indices.index_select(0, state.head_of) == state.local
        columns = [chosen] if success is None else [chosen.logical_and(success), chosen]
    if masks is not None:
        parts = [masks.t()] if isinstance(masks, Tensor) else [masks[name].t() for name in names]
        rows = parts[0].shape[1]
        valid = torch.cat([*parts, state.blank.expand(1, rows)])
        if chosen is not None:
            columns.append(chosen.logical_and(valid.narrow(0, 0, chosen.shape[0])))
        count = valid.index_select(0, state.padded).view(len(names), state.padded.shape[0] // len(names), rows).sum(1)
        columns += [valid, count >= 1, count == 1, count == state.sizes]
    part = Part(actions is not None, masks is not None, success is not None and actions is not None)
    cells = layout.columns(part)
    state.buffer.narrow(0, cells.start, cells.stop - cells.start).add_(torch.cat(columns).sum(1))
    state.buffer.narrow(0, part.steps.start, part.steps.stop - part.steps.start).add_(1)
    state.buffer.narrow(0, part.rows.start, part.rows.stop - part.rows.start).add_(rows)


def update_value_(state: CounterState, scalar: int, histogram: int, value: Tensor) -> None:
    """Count one value (0-d or [B]) in place: the scalar and histogram with these numbers, -1 for none."""
    flat = value.detach().reshape(-1)
    if scalar >= 0:
        summarize_(state, scalar, flat.unsqueeze(0))
        state.buffer.narrow(0, state.layout.recorded + scalar, 1).add_(flat.shape[0])
    if histogram >= 0:
        fill_buckets_(state, histogram, flat)
        state.buffer.narrow(0, state.layout.buckets[histogram], 1).add_(flat.shape[0])


def summarize_(state: CounterState, first: int, values: Tensor) -> None:
    """Add values [n, L] of the scalars `first` to first + n - 1; NaN and infinities are left out. Eleven launches."""
    layout, n = state.layout, values.shape[0]
    values = values.to(torch.float64)
    finite = values.abs() < math.inf
    reals = state.buffer.narrow(0, layout.sums, layout.cells - layout.sums).view(torch.float64)
    scalars = layout.mins - layout.sums
    low, high = reals.narrow(0, scalars + first, n), reals.narrow(0, 2 * scalars + first, n)
    state.buffer.narrow(0, layout.finite + first, n).add_(finite.sum(1))
    reals.narrow(0, first, n).add_(torch.where(finite, values, 0.0).sum(1))
    torch.minimum(low, torch.where(finite, values, math.inf).amin(1), out=low)
    torch.maximum(high, torch.where(finite, values, -math.inf).amax(1), out=high)


def fill_buckets_(state: CounterState, histogram: int, values: Tensor) -> None:
    """Add values [L] to the cells of a histogram, how many lie below each edge. Three launches."""
    edges = state.thresholds[histogram]
    start = state.layout.buckets[histogram] + 1
    state.buffer.narrow(0, start, edges.shape[0]).add_((values <= edges).sum(1))
