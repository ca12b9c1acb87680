"""Proximal policy optimisation (Schulman et al., 2017) over whole episodes, for a policy with several heads.

The heads are independent given the LSTM, so the log probability of an action is the sum over the heads that
mattered for its operation; only those take part, each with its own clipped ratio. One copy to the CPU per
pass: everything an early stop or a report needs, packed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from esper.simic.actions import HEADS
from esper.simic.policy import relevance
from esper.simic.rollout import RolloutBatch, advantages_and_returns
from esper.simic.transfer import to_host

if TYPE_CHECKING:
    from esper.simic.config import PpoConfig
    from esper.simic.policy import LSTMPolicy

STOP_AT = 1.5  # times target_kl
_SMALL = 1e-8
_ADVANTAGES = ("advantage_mean", "advantage_std", "advantage_min", "advantage_max")
_SCALARS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "kl_divergence",
    "clip_fraction",
    "ratio_min",
    "ratio_max",
    "grad_norm",
)


@dataclass(frozen=True)
class UpdateResult:
    """What an update measured.

    Attributes:
        metrics: Fields of PpoUpdateCompleted: losses, entropy, ratios and clipping are means (ratios: extremes)
            over the passes; kl_divergence is the last pass's, which is the one that stopped it.
        grad_norm: Norm before clipping, mean over the steps (and the pass that was not finite, if one was).
    """

    metrics: dict[str, Any]
    grad_norm: float | None


class PPO:
    """Improves a policy from batches of episodes.

    Args:
        policy: On its device.
        config: Coefficients and limits.
    """

    def __init__(self, policy: LSTMPolicy, config: PpoConfig) -> None:
        self.policy = policy
        self.config = config
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, eps=1e-5)

    def update(self, batch: RolloutBatch, entropy_coef: float) -> UpdateResult:
        """Pass over the batch until the policy has moved far enough, at most `update_epochs` times.

        A pass whose numbers are not finite, or whose divergence is over 1.5·target_kl, makes no step and is the last.
        """
        config = self.config
        advantages, returns = advantages_and_returns(batch.rewards, batch.values, config.gamma, config.lam)
        explained = 1.0 - (returns - batch.values).var() / returns.var().clamp_min(_SMALL)
        spread = advantages.std(correction=0)
        of_batch = torch.stack([explained, advantages.mean(), spread, advantages.min(), advantages.max()])
        normalised = (advantages - advantages.mean()) / (advantages.std() + _SMALL)
        mattered = relevance(batch.actions)
        passes: list[dict[str, float]] = []
        heads: list[list[list[float]]] = []
        ratios: list[list[float]] = []
        norms: list[float] = []
        steps = 0
        for _ in range(config.update_epochs):
            loss, measured, by_head, ratio = self._losses(batch, normalised, returns, mattered, entropy_coef)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            by_head = torch.cat((by_head, self._head_norms()[None]))
            norm = nn.utils.clip_grad_norm_(self.policy.parameters(), config.max_grad_norm)
            scalars, columns, moments, batchwide = to_host([torch.stack([*measured, norm]), by_head, ratio, of_batch])
            passes.append(dict(zip(_SCALARS, scalars.tolist(), strict=True)))
            heads.append(columns.tolist())
            ratios.append(moments.tolist())
            norms.append(passes[-1]["grad_norm"])
            if not all(map(math.isfinite, passes[-1].values())):
                break
            if passes[-1]["kl_divergence"] > STOP_AT * config.target_kl:
                norms.pop()
                break
            self.optimizer.step()
            steps += 1
        metrics = _summary(passes, heads, stepped=len(norms))
        variance, *advantage = batchwide.tolist()
        metrics |= dict(zip(_ADVANTAGES, advantage, strict=True))
        metrics |= {
            "ratio_mean": math.fsum(mean for mean, _ in ratios) / len(ratios),
            "ratio_std": math.fsum(std for _, std in ratios) / len(ratios),
            "explained_variance": variance,
            "entropy_coef": entropy_coef,
            "update_epochs": steps,
        }
        return UpdateResult(metrics, math.fsum(norms) / len(norms) if norms else None)

    def _losses(
        self, batch: RolloutBatch, advantages: Tensor, returns: Tensor, mattered: Tensor, entropy_coef: float
    ) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Return the loss, and what was measured.

        That is the first seven of `_SCALARS`; (3, H): entropy, clipped share and decisions by head; and (2,): mean
        and spread of the ratios that mattered.

        policy loss = -mean over decisions of the sum over heads that mattered of min(r·A, clip(r, 1 ± c)·A)
        """
        clip = self.config.clip
        new = self.policy.evaluate(batch.observations, batch.masks, batch.actions)
        log_ratio = (new.log_probs - batch.log_probs) * mattered
        ratio = log_ratio.exp()  # 1 where the head did not matter
        advantage = advantages[..., None]
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
        policy_loss = -(surrogate * mattered).sum(dim=-1).mean()
        value_loss = (returns - new.values).square().mean()
        entropies = new.entropies * mattered
        entropy = entropies.sum(dim=-1).mean()
        joint = log_ratio.sum(dim=-1)
        kl = (joint.exp() - 1.0 - joint).mean()
        clipped = ((ratio - 1.0).abs() > clip).to(torch.float32)
        decisions = mattered.sum(dim=(0, 1))
        floor = decisions.clamp_min(1.0)
        by_head = torch.stack((entropies.sum(dim=(0, 1)) / floor, clipped.sum(dim=(0, 1)) / floor, decisions))
        share = clipped.sum() / mattered.sum()
        loss = policy_loss + self.config.value_coef * value_loss - entropy_coef * entropy
        measured = [policy_loss, value_loss, entropy, kl, share, ratio.min(), ratio.max()]
        return loss, measured, by_head, _moments(ratio.detach(), mattered)

    def _head_norms(self) -> Tensor:
        """Return (H,): the norm of the gradient of each head's own rows, before clipping."""
        layer = self.policy.heads
        rows = torch.cat((layer.weight.grad, layer.bias.grad[:, None]), dim=1)  # type: ignore[arg-type,index]  # after backward
        return torch.stack([part.norm() for part in rows.split_with_sizes(self.policy.sizes)])


def _moments(values: Tensor, weights: Tensor) -> Tensor:
    """Return (2,): weighted mean and standard deviation."""
    total = weights.sum()
    mean = (values * weights).sum() / total
    return torch.stack((mean, ((values - mean).square() * weights).sum().div(total).sqrt()))


def _summary(passes: list[dict[str, float]], heads: list[list[list[float]]], *, stepped: int) -> dict[str, Any]:
    """Put the passes together; a head that mattered in no decision has no statistics.

    `stepped`: passes whose gradients count, as in `UpdateResult.grad_norm`.
    """
    metrics: dict[str, Any] = {}
    for name in ("policy_loss", "value_loss", "entropy", "clip_fraction"):
        metrics[name] = math.fsum(one[name] for one in passes) / len(passes)
    metrics["kl_divergence"] = passes[-1]["kl_divergence"]
    metrics["ratio_min"] = min(one["ratio_min"] for one in passes)
    metrics["ratio_max"] = max(one["ratio_max"] for one in passes)
    statistics = []
    for column, head in enumerate(HEADS):
        entropies, clipped, decisions, norms = ([one[row][column] for one in heads] for row in range(4))
        if decisions[0]:
            mean = {"entropy": sum(entropies) / len(heads), "clip_fraction": sum(clipped) / len(heads)}
            norm = {"grad_norm": math.fsum(norms[:stepped]) / stepped} if stepped else {}
            statistics.append({"head": head, **mean, **norm})
    return metrics | {"heads": statistics}
