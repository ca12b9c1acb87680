"""A seed's gradients beside its host's: is it learning, and is everything finite?

Everything accumulates on the device; the numbers leave it in whatever copy the loop makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RATIO = 10.0
DECAY = 0.9


class GradientMonitor:
    """Watches one seed from its germination on.

    Attributes:
        ratio: () smoothed gradient ratio on the device; None before the first gradient.
    """

    def __init__(self) -> None:
        self.ratio: Tensor | None = None
        self._norm_sum: Tensor | None = None

    def begin_epoch(self) -> None:
        """Forget the norms of the last epoch; the ratio goes on."""
        self._norm_sum = None

    def observe(self, parameters: Sequence[nn.Parameter], host_norm: Tensor, host_params: int) -> None:
        """Look at the gradients a backward pass left.

        The ratio is min(10, |g_seed| / |g_host| · sqrt(P_host / P_seed)), smoothed over steps with 0.9: norms
        grow with the root of the number of parameters, which the second factor takes out.

        Args:
            parameters: Those of the seed; what has no gradient is left out.
            host_norm: () norm of the host's gradients.
            host_params: Number of the host's parameters.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = nn.utils.parameters_to_vector(gradients)
        norm = torch.linalg.vector_norm(flat)
        smallest = torch.finfo(norm.dtype).tiny
        ratio = norm / host_norm.clamp_min(smallest) * (host_params / flat.numel()) ** 0.5
        ratio = ratio.clamp_max(MAX_RATIO)
        self.ratio = ratio if self.ratio is None else torch.lerp(ratio, self.ratio, DECAY)
        self._norm_sum = norm if self._norm_sum is None else self._norm_sum + norm

    def pack(self, parameters: Sequence[nn.Parameter], device: str) -> Tensor:
        """Pack (3,): the ratio, the sum of gradient norms in this epoch, the norm of the weights.

        The two sums are finite exactly if every gradient and weight is. What was not measured is 0 here.
        """
        zero = torch.zeros((), device=device)
        weights = torch.linalg.vector_norm(nn.utils.parameters_to_vector(parameters)) if parameters else zero
        ratio = zero if self.ratio is None else self.ratio
        norms = zero if self._norm_sum is None else self._norm_sum
        return torch.stack((ratio, norms, weights.detach()))
