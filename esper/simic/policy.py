"""The policy: an LSTM over an episode, with four masked heads and a value.

Shapes: T steps, B environments, F features, O options of all heads side by side, H heads. Everything stays on
the device: sampling uses Gumbel's trick, because `torch.multinomial` makes the host wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from esper.simic.actions import HEADS, RELEVANT

if TYPE_CHECKING:
    from collections.abc import Mapping

MASKED = -1e8  # finite, so that 0·log 0 in an entropy is 0; its probability is exactly 0 in float32

State = tuple[Tensor, Tensor]
"""Hidden and cell state of the LSTM, (1, B, hidden) each."""


@dataclass(frozen=True)
class Evaluation:
    """What the policy thinks of actions that were taken.

    Attributes:
        log_probs: (T, B, H), of the option chosen by each head.
        entropies: (T, B, H).
        values: (T, B).
    """

    log_probs: Tensor
    entropies: Tensor
    values: Tensor


class MaskedHeads:
    """Independent categorical distributions over the options of each head, given logits and masks.

    Args:
        logits: (..., O) float32.
        masks: (..., O) bool, True = allowed; at least one option of each head must be.
    """

    def __init__(self, logits: Tensor, masks: Tensor, sizes: list[int]) -> None:
        masked = logits.masked_fill(~masks, MASKED)
        self._log_probs = [part.log_softmax(dim=-1) for part in torch.split(masked, sizes, dim=-1)]

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw one option per head: (..., H) int64; argmax(log p - log E) with E exponential."""
        options = []
        for log_probs in self._log_probs:
            noise = torch.empty_like(log_probs).exponential_(generator=generator)
            options.append((log_probs - noise.log()).argmax(dim=-1))
        return torch.stack(options, dim=-1)

    def best(self) -> Tensor:
        """Return the likeliest option per head: (..., H) int64."""
        return torch.stack([log_probs.argmax(dim=-1) for log_probs in self._log_probs], dim=-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return (..., H): log probability of the chosen option of each head."""
        pairs = zip(self._log_probs, actions.unbind(dim=-1), strict=True)
        return torch.stack([p.gather(-1, chosen[..., None]).squeeze(-1) for p, chosen in pairs], dim=-1)

    def entropy(self) -> Tensor:
        """Return (..., H): entropy of each head, in nats."""
        return torch.stack([-(p.exp() * p).sum(dim=-1) for p in self._log_probs], dim=-1)


class LSTMPolicy(nn.Module):
    """Linear-LayerNorm-ReLU, LSTM, LayerNorm, then a linear layer for each head and for the value.

    Args:
        features: Length of an observation.
        hidden: Width of everything inside.
        heads: Options by head.
    """

    def __init__(self, features: int, hidden: int = 128, heads: Mapping[str, tuple[str, ...]] = HEADS) -> None:
        super().__init__()
        self.hidden = hidden
        self.sizes = [len(options) for options in heads.values()]
        self.encoder = nn.Sequential(nn.Linear(features, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.lstm = nn.LSTM(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.heads = nn.Linear(hidden, sum(self.sizes))
        self.value = nn.Linear(hidden, 1)
        # Nearly uniform at the start, so that nothing is preferred before it was tried (Andrychowicz et al., 2021).
        nn.init.orthogonal_(self.heads.weight, gain=0.01)
        nn.init.zeros_(self.heads.bias)

    def initial_state(self, environments: int) -> State:
        """Return the state before the first step of an episode."""
        zeros = torch.zeros(1, environments, self.hidden, device=self.value.weight.device)
        return zeros, zeros

    def forward(self, observations: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Look at (T, B, F) observations: logits (T, B, O), values (T, B) and the state after them."""
        out, after = self.lstm(self.encoder(observations), state)
        features = self.norm(out)
        return self.heads(features), self.value(features).squeeze(-1), after

    @torch.no_grad()
    def act(
        self, observations: Tensor, masks: Tensor, state: State, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """Decide one step for all environments in one call.

        Args:
            observations: (B, F).
            masks: (B, O) bool.
            state: What the last step returned.
            generator: On the policy's device.

        Returns:
            Actions (B, H), their log probabilities (B, H), values (B,), and the state.
        """
        logits, values, after = self(observations[None], state)
        heads = MaskedHeads(logits[0], masks, self.sizes)
        actions = heads.sample(generator)
        return actions, heads.log_prob(actions), values[0], after

    def evaluate(self, observations: Tensor, masks: Tensor, actions: Tensor) -> Evaluation:
        """Go through whole episodes again.

        Args:
            observations: (T, B, F), from the first step on.
            masks: (T, B, O) bool.
            actions: (T, B, H).
        """
        logits, values, _ = self(observations, self.initial_state(observations.shape[1]))
        heads = MaskedHeads(logits, masks, self.sizes)
        return Evaluation(heads.log_prob(actions), heads.entropy(), values)


class UniformPolicy(nn.Module):
    """Draws among what is allowed and learns nothing: the control of `LSTMPolicy`, called like it."""

    def __init__(self, heads: Mapping[str, tuple[str, ...]] = HEADS) -> None:
        super().__init__()
        self.sizes = [len(options) for options in heads.values()]

    def initial_state(self, environments: int) -> State:  # noqa: ARG002 - it remembers nothing of any
        """Return an empty state."""
        return torch.zeros(0), torch.zeros(0)

    def act(
        self, observations: Tensor, masks: Tensor, state: State, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """Decide one step; see `LSTMPolicy.act`. The values are 0."""
        heads = MaskedHeads(torch.zeros(masks.shape, device=masks.device), masks, self.sizes)
        actions = heads.sample(generator)
        return actions, heads.log_prob(actions), torch.zeros_like(observations[:, 0]), state


def relevance(actions: Tensor) -> Tensor:
    """Return (..., H) float32: 1 where a head mattered for the operation that was chosen."""
    ops = actions[..., 0]
    columns = []
    for head in HEADS:
        mattered = torch.zeros_like(ops, dtype=torch.bool)
        for op in RELEVANT[head]:
            mattered = mattered | (ops == int(op))
        columns.append(mattered)
    return torch.stack(columns, dim=-1).to(torch.float32)
