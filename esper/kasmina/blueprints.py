"""What a seed can be: small modules that keep the shape of the features they are planted on.

Each maps (N, C, H, W) to (N, C, H, W) and starts near the identity, so that a young seed does not tear down
what its host has learned. They normalise with groups, never with batch statistics: a seed that trains apart
must not depend on what else is in the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_GROUPS = 4


class Norm(nn.Module):
    """Residual group normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _group_norm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Add the normalised features to the features."""
        return features + torch.as_tensor(self.norm(features))


class Attention(nn.Module):
    """Squeeze-and-excite: each channel is scaled by a summary of the whole image (Hu et al., 2018)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, max(channels // reduction, 4))
        self.excite = nn.Linear(self.squeeze.out_features, channels)
        nn.init.normal_(self.excite.weight, std=0.01)
        nn.init.zeros_(self.excite.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Scale by 2·sigmoid(z); z starts near 0, so the scale starts near 1."""
        context = torch.relu(self.squeeze(features.mean(dim=(2, 3))))
        scale = 2.0 * torch.sigmoid(self.excite(context))
        return features * scale[:, :, None, None]


class Residual(nn.Module):
    """Convolutions beside a direct path: x + f(x)."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, features: Tensor) -> Tensor:
        """Add what the convolutions find."""
        return features + torch.as_tensor(self.body(features))


def _group_norm(channels: int) -> nn.GroupNorm:
    groups = next(n for n in range(MAX_GROUPS, 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels)


def _conv(channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        _group_norm(channels),
        nn.ReLU(),
    )


def _conv_light(channels: int) -> nn.Module:
    return Residual(nn.Sequential(*_conv(channels)))


def _conv_heavy(channels: int) -> nn.Module:
    return Residual(nn.Sequential(*_conv(channels), *_conv(channels)))


def _depthwise(channels: int) -> nn.Module:
    return Residual(
        nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            _group_norm(channels),
            nn.ReLU(),
        )
    )


def _noop(_channels: int) -> nn.Module:
    return nn.Identity()


BLUEPRINTS: Mapping[str, Callable[[int], nn.Module]] = {
    "noop": _noop,
    "conv_light": _conv_light,
    "attention": Attention,
    "norm": Norm,
    "depthwise": _depthwise,
    "conv_heavy": _conv_heavy,
}
"""Constructors by blueprint id; each takes the number of channels."""


def build_blueprint(blueprint_id: str, channels: int) -> nn.Module:
    """Build a seed for a slot of that many channels.

    Raises:
        ValueError: If the blueprint is unknown.
    """
    if blueprint_id not in BLUEPRINTS:
        raise ValueError(f"unknown blueprint {blueprint_id!r}: choose one of {', '.join(BLUEPRINTS)}")
    return BLUEPRINTS[blueprint_id](channels)
