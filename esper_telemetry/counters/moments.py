"""Count, weight, mean, spread and extremes of values, in float64, on the device, in one pass over each fold.

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

if TYPE_CHECKING:
    from esper_telemetry.counters.state import CounterState


def reals_of(state: CounterState) -> Tensor:
    """Return the float64 cells of a bank by row: weights, sums, squares, mins, maxs; [5, V]."""
    layout = state.layout
    return state.buffer.narrow(0, layout.weights, layout.cells - layout.weights).view(torch.float64).view(5, -1)


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
