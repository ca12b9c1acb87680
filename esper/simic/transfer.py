"""The one place where the loops wait for a device: a packed copy to the CPU.

What several tensors measured on one device leaves it in one copy; the tests count these copies and allow no
other way out (no `.item()`, no boolean index, no comparison that Python reads).
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_host(tensors: list[Tensor]) -> list[Tensor]:
    """Copy tensors of one device to the CPU, all in one.

    Args:
        tensors: Any shapes; values are packed as float32, so whole numbers are exact up to 2^24.

    Returns:
        float32 tensors of the same shapes, on the CPU.
    """
    # copy=True: a copy is made, and seen by the tests, on a CPU as on a GPU.
    packed = torch.cat([tensor.detach().reshape(-1).to(torch.float32) for tensor in tensors]).to("cpu", copy=True)
    pieces = torch.split(packed, [tensor.numel() for tensor in tensors])
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
