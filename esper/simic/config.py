"""How the PPO loop trains: every number, its default, and what it may be. Nothing about telemetry is here."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from esper.kasmina.host import SLOT_IDS
from esper.simic.counterfactual import MODES

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICIES = ("ppo", "random", "wait")
"""Who decides: the policy that learns, one that draws among what is allowed, or the control without growth."""


class PpoConfigError(ValueError):
    """A configuration cannot be used."""


@dataclass(frozen=True)
class PpoConfig:
    """How to train.

    Attributes:
        batches: Batches to train now; each is n_envs episodes and one update.
        n_envs: Hosts that grow side by side.
        max_epochs: Inner epochs of an episode.
        seed: Of everything that is drawn.
        devices: Where the hosts live, in turn; the policy lives on the first.
        slots: Slots the policy may use.
        counterfactual: When the alpha=0 baseline is measured: "every", "final" or "off".
        policy: One of `POLICIES`.
        hidden: Width of the LSTM.
        gamma: Discount.
        lam: Lambda of the advantages.
        lr: Learning rate of the policy.
        clip: Ratios beyond 1 ± clip earn nothing more.
        value_coef: Weight of the value loss.
        entropy_start: Weight of the entropy bonus at the start,
        entropy_end: and at the end,
        entropy_batches: so many batches later.
        max_grad_norm: The gradient is clipped to it.
        target_kl: An update stops at 1.5 times this divergence.
        update_epochs: Passes over a batch, at most.
        escalate_batches: Batches that telemetry records everything after an anomaly.
    """

    batches: int = 10
    n_envs: int = 4
    max_epochs: int = 25
    seed: int = 1
    devices: tuple[str, ...] = ("cpu",)
    slots: tuple[str, ...] = SLOT_IDS
    counterfactual: str = "every"
    policy: str = "ppo"
    hidden: int = 128
    gamma: float = 0.995
    lam: float = 0.97
    lr: float = 3e-4
    clip: float = 0.2
    value_coef: float = 0.5
    entropy_start: float = 0.05
    entropy_end: float = 0.01
    entropy_batches: int = 100
    max_grad_norm: float = 0.5
    target_kl: float = 0.015
    update_epochs: int = 10
    escalate_batches: int = 3

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            PpoConfigError: One cannot be used.
        """
        for name in ("batches", "n_envs", "max_epochs", "hidden", "entropy_batches", "update_epochs"):
            _require(name, getattr(self, name), "a whole number of 1 or more", lambda v: type(v) is int and v >= 1)
        for name in ("seed", "escalate_batches"):
            _require(name, getattr(self, name), "a whole number of 0 or more", lambda v: type(v) is int and v >= 0)
        for name in ("gamma", "lam"):
            _require(name, getattr(self, name), "between 0 and 1", lambda v: _is_number(v) and 0 <= v <= 1)
        for name in ("lr", "clip", "max_grad_norm", "target_kl"):
            _require(name, getattr(self, name), "more than 0", lambda v: _is_number(v) and v > 0)
        for name in ("value_coef", "entropy_start", "entropy_end"):
            _require(name, getattr(self, name), "0 or more", lambda v: _is_number(v) and v >= 0)
        _require("policy", self.policy, f"one of {', '.join(POLICIES)}", lambda v: v in POLICIES)
        _require("counterfactual", self.counterfactual, f"one of {', '.join(MODES)}", lambda v: v in MODES)
        _require("slots", self.slots, f"some of {', '.join(SLOT_IDS)}", lambda v: bool(v) and set(v) <= set(SLOT_IDS))
        _require("devices", self.devices, "a list of different devices", _are_different)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> PpoConfig:
        """Build a configuration from a file's keys; lists become tuples.

        Raises:
            PpoConfigError: A key is unknown, or a value cannot be used.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
                raise PpoConfigError(f"unknown config key {key!r}: {hint}")
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**given)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, as a checkpoint and a record keep them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def entropy_coef(self, global_epoch: int) -> float:
        """Weight of the entropy bonus in a batch (from 1): linear from entropy_start to entropy_end."""
        share = min((global_epoch - 1) / self.entropy_batches, 1.0)
        return self.entropy_start + share * (self.entropy_end - self.entropy_start)


def _are_different(value: Any) -> bool:
    return isinstance(value, tuple) and 0 < len(value) == len(set(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require(name: str, value: Any, wanted: str, holds: Any) -> None:
    if not holds(value):
        raise PpoConfigError(f"{name} is {value!r}: it must be {wanted}")
