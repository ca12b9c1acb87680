"""Counting at once and in place: one step, or one value, into a bank's cells; and the moments of values.

This is the form for compiled regions and CUDA graphs, where holding references would be
wrong, and the arithmetic of a fold that needs no joining. Compare and sum, never
scatter: an index out of range is then a missing count and not a device assert.
Accumulators are int64, or float64 for the values of scalars.

Spread is the sum of squared distances from the mean: each fold takes them about its own
mean, and two sets are joined by the formula of Chan, Golub and LeVeque (1979), so that a
small spread about a large mean is not lost as it is in a sum of squares. Values that are
not finite, and those of weight 0, count in nothing but their own number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from esper_telemetry.counters.cells import INVALID_ROWS, GivenParts
from esper_telemetry.counters.state import reals_of
from esper_telemetry.counters.step_counts import index_columns, mask_columns

if TYPE_CHECKING:
    from esper_telemetry.counters.state import CounterState, Heads


def update_(
    state: CounterState,
    actions: Heads | None = None,
    masks: Heads | None = None,
    success: Tensor | None = None,
    valid: Tensor | None = None,
) -> None:
    """Count one step in place: for torch.compile(fullgraph=True), CUDA graphs and mode="inline".

    Args:
        state: accumulators, changed in place.
        actions: integers: packed [B, H], or head → [B]; or another form of `DeviceCounters.record_step`.
        masks: bool, True = valid: packed [B, S], or head → [B, K]; likewise.
        success: bool [B]: the action took effect. Counted with actions only.
        valid: bool [B]: False rows were no decision and count as invalid rows only.
    """
    layout, names = state.layout, state.names
    columns: list[Tensor] = []
    chosen: Tensor | None = None
    rows = 0
    if actions is not None:
        indices = index_columns(state, [actions])
        rows = indices.shape[1]
        chosen = indices.index_select(0, state.head_of) == state.local
        columns = [chosen] if success is None else [chosen.logical_and(success), chosen]
    if masks is not None:
        parts = mask_columns(state, [masks])
        rows = parts[0].shape[1]
        allowed = torch.cat([*parts, state.blank.expand(1, rows)])
        if chosen is not None:
            columns.append(chosen.logical_and(allowed.narrow(0, 0, chosen.shape[0])))
        count = allowed.index_select(0, state.padded).view(len(names), state.padded.shape[0] // len(names), rows).sum(1)
        columns += [allowed, count >= 1, count == 1, count == state.sizes]
    if not columns:
        return
    part = GivenParts(actions is not None, masks is not None, success is not None and actions is not None)
    cells = layout.columns(part)
    flags = torch.cat(columns)
    decided = state.buffer.narrow(0, part.rows.start, part.rows.stop - part.rows.start)
    if valid is None:
        decided.add_(rows)
    else:
        flags, number = flags.logical_and(valid), valid.sum()
        decided.add_(number)
        state.buffer.narrow(0, INVALID_ROWS, 1).add_(rows - number)
    state.buffer.narrow(0, cells.start, cells.stop - cells.start).add_(flags.sum(1))
    state.buffer.narrow(0, part.steps.start, part.steps.stop - part.steps.start).add_(1)


def update_value_(
    state: CounterState, scalar: int, histogram: int, value: Tensor, weight: Tensor | None = None
) -> None:
    """Count one value (0-d or [B]) in place: the scalar and histogram with these numbers, -1 for none."""
    flat = value.detach().reshape(-1)
    weights = None if weight is None else weight.detach().expand(value.shape).reshape(-1)
    if scalar >= 0:
        add_moments_(state, scalar, flat.unsqueeze(0), None if weights is None else weights.unsqueeze(0))
    if histogram >= 0:
        fill_buckets_(state, histogram, flat, weights)
        if weights is None:
            state.buffer.narrow(0, state.layout.buckets[histogram], 1).add_(flat.shape[0])


def fill_buckets_(state: CounterState, histogram: int, values: Tensor, weights: Tensor | None) -> None:
    """Add values [L] to the cells of a histogram: how many lie below each edge.

    Values of weight 0 are left out, and the others counted as recorded; without weights their number is the caller's
    to add, who knows it on the host.
    """
    edges = state.thresholds[histogram]
    below = values <= edges
    if weights is not None:
        used = weights != 0
        below = below.logical_and(used)
        state.buffer.narrow(0, state.layout.buckets[histogram], 1).add_(used.sum())
    state.buffer.narrow(0, state.layout.buckets[histogram] + 1, edges.shape[0]).add_(below.sum(1))


def add_moments_(state: CounterState, first: int, values: Tensor, weights: Tensor | None) -> None:
    """Add values [n, L] of the scalars `first` to first + n - 1; a fixed number of launches.

    Args:
        state: the accumulators.
        first: number of the first scalar.
        values: of any real type.
        weights: [n, L]; None: 1 each.
    """
    n = values.shape[0]
    if not values.shape[1]:
        return
    values = values.to(torch.float64)
    used = values.abs() < math.inf
    recorded = state.buffer.narrow(0, state.layout.recorded + first, n)
    if weights is None:
        recorded.add_(values.shape[1])
        finite = used.sum(1)
        weight, total = finite.to(torch.float64), torch.where(used, values, 0.0).sum(1)
    else:
        recorded.add_((weights != 0).sum(1))
        used = used.logical_and(weights != 0)
        finite = used.sum(1)
        weights = torch.where(used, weights.to(torch.float64), 0.0)
        weight, total = weights.sum(1), (torch.where(used, values, 0.0) * weights).sum(1)
    mean = total / weight
    apart = torch.where(used, values - mean.unsqueeze(1), 0.0).square()
    squares = (apart if weights is None else apart * weights).sum(1)
    state.buffer.narrow(0, state.layout.finite + first, n).add_(finite)
    weight_cells, sum_cells, square_cells, low, high = reals_of(state).narrow(1, first, n).unbind(0)
    # d^2 * w * v / (w + v) is what the distance d of two means adds; not a number where a set is empty, which adds 0
    between = (mean - sum_cells / weight_cells).square() * (weight * weight_cells / (weight + weight_cells))
    square_cells.add_(squares).add_(torch.nan_to_num(between))
    weight_cells.add_(weight)
    sum_cells.add_(total)
    torch.minimum(low, torch.where(used, values, math.inf).amin(1), out=low)
    torch.maximum(high, torch.where(used, values, -math.inf).amax(1), out=high)
