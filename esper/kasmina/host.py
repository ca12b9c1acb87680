"""The host: a small convolutional network with a slot after each block.

Without seeds it is an ordinary network, and its initialisation depends on its seed alone: two hosts of one
seed are equal whatever was drawn in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from esper.kasmina.slot import SeedSlot, own_randomness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esper.kasmina.lifecycle import GateLimits

SLOT_IDS = ("early", "mid", "late")


class GrowingHost(nn.Module):
    """Blocks of convolution, batch norm, ReLU and pooling; a slot after each; global pool; linear head.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        channels: Width of each block, one per slot of `SLOT_IDS`.
        seed: Of the initialisation.
        device: Where everything lives, in PyTorch's form.
        limits: Durations and thresholds of the slots; None for the defaults.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        channels: Sequence[int] = (8, 16, 32),
        seed: int,
        device: str = "cpu",
        limits: GateLimits | None = None,
    ) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        with own_randomness(seed):
            self.blocks = nn.ModuleList(
                _block(before, after) for before, after in zip(widths[:-1], channels, strict=True)
            )
            self.head = nn.Linear(channels[-1], classes)
        slots = {
            slot_id: SeedSlot(slot_id, width, device, limits) for slot_id, width in zip(SLOT_IDS, channels, strict=True)
        }
        self.slots = nn.ModuleDict(slots)
        self.seed_slots: Mapping[str, SeedSlot] = slots
        self.place_on(device)

    def place_on(self, device: str) -> None:
        """Move everything to a device; seeds planted from now on go there as well."""
        self.to(device)
        for slot in self.seed_slots.values():
            slot.device = device
        # After the move, which makes new parameters on devices that cannot exchange memory in place.
        self._host_parameters = [*self.blocks.parameters(), *self.head.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, C, H, W) images: (N, classes) logits."""
        features = images
        for block, slot in zip(self.blocks, self.slots.values(), strict=True):
            features = slot(block(features))
        return torch.as_tensor(self.head(features.mean(dim=(2, 3))))

    def host_parameters(self) -> list[nn.Parameter]:
        """Parameters without those of seeds."""
        return self._host_parameters

    def host_params(self) -> int:
        """How many parameters the host has without seeds."""
        return sum(parameter.numel() for parameter in self._host_parameters)

    def seed_params(self) -> int:
        """How many parameters the seeds in the forward pass have."""
        return sum(slot.active_params() for slot in self.seed_slots.values())


def _block(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
