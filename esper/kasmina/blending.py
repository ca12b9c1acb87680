"""How a seed's output enters its host: a schedule that moves alpha from 0 to 1, and the mix at an alpha.

A blend never keeps time itself: the slot knows how far it has come.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIGMOID_STEEPNESS = 12.0
GATE_BIAS = 2.0  # sigmoid(2) = 0.88: the gate starts mostly open


class LinearBlend(nn.Module):
    """Alpha grows evenly."""

    def alpha_at(self, progress: float) -> float:
        """Blend weight when `progress` (0 to 1) of the blend is done; exactly 1 at the end."""
        return min(max(progress, 0.0), 1.0)

    def forward(self, host: Tensor, seed: Tensor, alpha: float) -> Tensor:
        """Mix two (N, C, H, W) feature maps: host + alpha·(seed - host)."""
        return torch.lerp(host, seed, alpha)


class SigmoidBlend(LinearBlend):
    """Alpha starts and ends gently: 1 / (1 + exp(-12·(t - 0.5)))."""

    def alpha_at(self, progress: float) -> float:
        """Blend weight on the sigmoid; its last 0.25 % are closed at the end."""
        if progress <= 0.0 or progress >= 1.0:
            return super().alpha_at(progress)
        return 1.0 / (1.0 + math.exp(-SIGMOID_STEEPNESS * (progress - 0.5)))


class GatedBlend(LinearBlend):
    """A learned gate per image decides how much of alpha it takes; alpha itself follows the schedule."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, GATE_BIAS)

    def forward(self, host: Tensor, seed: Tensor, alpha: float) -> Tensor:
        """Mix with weight alpha·sigmoid(gate(mean of host)), one weight per image."""
        openness = torch.sigmoid(self.gate(host.mean(dim=(2, 3))))
        return torch.lerp(host, seed, alpha * openness[:, :, None, None])


class _StraightThrough(torch.autograd.Function):
    """The host's value unchanged, its gradient given to host and seed alike (Bengio et al., 2013)."""

    @staticmethod
    def forward(ctx: Any, host: Tensor, seed: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        """Return the host features; the seed's stay out of the value, NaN or not."""
        return host.view_as(host)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG004 - autograd's signature
        """Hand the gradient to both."""
        (gradient,) = gradients
        return gradient, gradient


def straight_through(host: Tensor, seed: Tensor) -> Tensor:
    """Give the host's features; the seed's get the same gradient."""
    mixed: Tensor = _StraightThrough.apply(host, seed)  # type: ignore[no-untyped-call] # torch leaves it untyped
    return mixed


def _linear(_channels: int) -> LinearBlend:
    return LinearBlend()


def _sigmoid(_channels: int) -> LinearBlend:
    return SigmoidBlend()


BLENDS: Mapping[str, Callable[[int], LinearBlend]] = {
    "linear": _linear,
    "sigmoid": _sigmoid,
    "gated": GatedBlend,
}
"""Constructors by blend id; each takes the number of channels."""


def build_blend(blend_id: str, channels: int) -> LinearBlend:
    """Build a blend for a slot of that many channels.

    Raises:
        ValueError: If the blend is unknown.
    """
    if blend_id not in BLENDS:
        raise ValueError(f"unknown blend {blend_id!r}: choose one of {', '.join(BLENDS)}")
    return BLENDS[blend_id](channels)
