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
    finite = values.abs() < math.inf
    recorded = state.buffer.narrow(0, state.layout.recorded + first, n)
    if weights is None:
        recorded.add_(values.shape[1])
        weight = finite.to(torch.float64)
    else:
        weight = weights.to(torch.float64)
        recorded.add_((weight != 0.0).sum(1))
        finite = finite.logical_and(weight != 0.0)
        weight = torch.where(finite, weight, 0.0)
    total = (torch.where(finite, values, 0.0) * weight).sum(1)
    total_weight = weight.sum(1)
    apart = torch.where(finite, values - (total / total_weight).unsqueeze(1), 0.0)
    squares = (apart * apart * weight).sum(1)
    state.buffer.narrow(0, state.layout.finite + first, n).add_(finite.sum(1))
    weight_cells, sum_cells, square_cells, low, high = reals_of(state).narrow(1, first, n).unbind(0)
    square_cells.add_(squares + _between(weight_cells, sum_cells, total_weight, total))
    weight_cells.add_(total_weight)
    sum_cells.add_(total)
    torch.minimum(low, torch.where(finite, values, math.inf).amin(1), out=low)
    torch.maximum(high, torch.where(finite, values, -math.inf).amax(1), out=high)


def _between(weight: Tensor, total: Tensor, other_weight: Tensor, other_total: Tensor) -> Tensor:
    """Return what the distance between two means adds to the squares: d^2 * w * v / (w + v); 0 where a set is empty."""
    apart = total / weight - other_total / other_weight
    added = apart * apart * (weight * other_weight / (weight + other_weight))
    return torch.where((weight > 0.0).logical_and(other_weight > 0.0), added, 0.0)
