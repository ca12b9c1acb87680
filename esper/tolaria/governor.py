"""The governor: watches the loss, keeps the last good state, and restores it when the training goes wrong.

It decides on numbers the loop measured and copies nothing from the device by itself: the loop packs the
state into a copy it makes anyway and hands it back (`pack_state`, `adopt`). A failure of telemetry can
neither stop nor alter a rollback.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor, nn

from esper.kasmina.lifecycle import Stage
from esper.telemetry import TelemetryEvent, TelemetryEventType, get_hub

log = logging.getLogger(__name__)


class GovernorError(RuntimeError):
    """The governor was asked for what it cannot do."""


@dataclass(frozen=True)
class Panic:
    """Why a loss is not acceptable; `threshold` is None where being finite is the test."""

    reason: str
    loss: float
    threshold: float | None


class TolariaGovernor:
    """Watches one host. The constructor touches nothing: take the first snapshot yourself.

    Args:
        model: The host.
        classes: Number of classes; the loss of guessing is their natural logarithm.
        history: Losses that are remembered; anomalies are not.
        min_samples: Losses that must be known before a spike can be detected.
        sigmas: A spike is this many standard deviations over the mean,
        multiple: this many times the mean,
        ceiling: and over this loss,
        patience: this many times running.
        reward_penalty: Added to the reward of a step that ends in a rollback.

    Attributes:
        last_good_state: What a rollback restores; None before the first snapshot.
        consecutive_panics: Anomalies in a row.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: int = 10,
        history: int = 20,
        min_samples: int = 10,
        sigmas: float = 6.0,
        multiple: float = 3.0,
        ceiling: float = 12.0,
        patience: int = 3,
        reward_penalty: float = -10.0,
    ) -> None:
        self.model = model
        self.guess_loss = math.log(classes)
        self.min_samples = min_samples
        self.sigmas = sigmas
        self.multiple = multiple
        self.ceiling = ceiling
        self.patience = patience
        self.reward_penalty = reward_penalty
        self.last_good_state: dict[str, Any] | None = None
        self.last_panic: Panic | None = None
        self.consecutive_panics = 0
        self._history: deque[float] = deque(maxlen=history)
        self._layout: list[tuple[str, torch.Size, torch.dtype]] = []

    # Watch.

    def check_vital_signs(self, loss: float, *, env_id: int = 0, context: Mapping[str, Any] | None = None) -> bool:
        """Look at the loss of an epoch; True means: roll back now.

        Three things are wrong with a loss: it is not finite; a network that had learned is back at guessing
        (mean of the history under 0.6·guess, loss within 6.5 % of guess); it is over every spike threshold,
        `patience` times running.

        Args:
            loss: Mean validation loss of the epoch.
            env_id: The environment, for the report.
            context: Further context for the report, such as the epochs.
        """
        panic = self._diagnose(loss)
        if panic is None:
            self._history.append(loss)
            self.consecutive_panics = 0
            return False
        self.last_panic = panic
        self.consecutive_panics += 1
        if panic.reason == "loss_spike" and self.consecutive_panics < self.patience:
            return False
        self._report(TelemetryEventType.GOVERNOR_PANICKED, env_id, context, self._facts())
        return True

    def _diagnose(self, loss: float) -> Panic | None:
        if not math.isfinite(loss):
            return Panic("non_finite_loss", loss, None)
        if not self._history:
            return None
        mean = fmean(self._history)
        margin = 0.065 * self.guess_loss
        if mean < 0.6 * self.guess_loss and abs(loss - self.guess_loss) < margin:
            return Panic("lobotomy", loss, self.guess_loss - margin)
        if len(self._history) < self.min_samples:
            return None
        spike = max(self.ceiling, mean + self.sigmas * pstdev(self._history), self.multiple * mean)
        return Panic("loss_spike", loss, spike) if loss > spike else None

    # Remember.

    def pack_state(self) -> Tensor:
        """Flatten parameters and buffers into one (N,) float32 tensor on the model's device.

        Integers (counts of batches) are exact up to 2^24.
        """
        state = self.model.state_dict()
        self._layout = [(name, tensor.shape, tensor.dtype) for name, tensor in state.items()]
        return torch.cat([tensor.reshape(-1).to(torch.float32) for tensor in state.values()])

    def adopt(self, packed: Tensor) -> None:
        """Remember what `pack_state()` gave, now on the CPU, as the last good state.

        Slots whose seed is not a fossil *now* are left out: a seed that was kept since the packing is in.
        """
        unfinished = self._unfinished_prefixes()
        pieces = torch.split(packed, [shape.numel() for _, shape, _ in self._layout])
        self.last_good_state = {
            name: piece.reshape(shape).to(dtype, copy=True)
            for (name, shape, dtype), piece in zip(self._layout, pieces, strict=True)
            if not name.startswith(unfinished)
        }

    def snapshot(self) -> None:
        """Remember the state as it is now; costs a copy from the device."""
        self.adopt(self.pack_state().cpu())

    def _unfinished_prefixes(self) -> tuple[str, ...]:
        unfinished = {id(slot) for slot in self._slots().values() if slot.stage != Stage.FOSSILIZED}
        return tuple(f"{name}." for name, module in self.model.named_modules() if id(module) in unfinished)

    # Roll back.

    def execute_rollback(self, *, env_id: int = 0, context: Mapping[str, Any] | None = None) -> float:
        """Restore the last good state, drop the live seeds, then report.

        The caller clears the optimisers: their momentum belongs to the state that failed.

        Args:
            env_id: The environment, for the report.
            context: Further context for the report, such as the epochs.

        Returns:
            The penalty for the reward.

        Raises:
            GovernorError: If there is no snapshot; nothing was changed then.
        """
        if self.last_good_state is None:
            raise GovernorError("no state to roll back to: call snapshot() before the first epoch")
        device = next(iter(self.model.parameters())).device
        state = {name: tensor.to(device) for name, tensor in self.last_good_state.items()}
        self.model.load_state_dict(state, strict=False)
        dropped = self._drop_live_seeds()
        facts = {**self._facts(), "reward_penalty": self.reward_penalty, "dropped_seed_ids": dropped}
        self.consecutive_panics = 0
        self.last_panic = None
        self._report(TelemetryEventType.GOVERNOR_ROLLED_BACK, env_id, context, facts)
        return self.reward_penalty

    def _drop_live_seeds(self) -> list[str]:
        live = [slot for slot in self._slots().values() if slot.is_live]
        dropped = [slot.state.seed_id for slot in live]
        for slot in live:
            _never_raise(slot.cull, "rollback")
        return dropped

    def _slots(self) -> Mapping[str, Any]:
        slots = getattr(self.model, "seed_slots", None)
        return slots if isinstance(slots, Mapping) else {}

    # Report.

    def _facts(self) -> dict[str, Any]:
        """The present panic; a rollback without one was asked for."""
        if self.last_panic is None:
            return {"reason": "requested", "consecutive_panics": self.consecutive_panics}
        facts = {
            "reason": self.last_panic.reason,
            "loss": self.last_panic.loss,
            "threshold": self.last_panic.threshold,
            "consecutive_panics": self.consecutive_panics,
        }
        return {key: value for key, value in facts.items() if value is not None}

    def _report(
        self,
        event_type: TelemetryEventType,
        env_id: int,
        context: Mapping[str, Any] | None,
        facts: dict[str, Any],
    ) -> None:
        def emit() -> None:
            device = str(next(iter(self.model.parameters())).device)
            data = {**(context or {}), "env_id": env_id, "device": device, **facts}
            get_hub().emit(TelemetryEvent(event_type, data))

        _never_raise(emit)


def _never_raise(action: Callable[..., Any], *arguments: Any) -> None:
    """Telemetry behind this call may fail as it likes; safety comes first."""
    try:
        action(*arguments)
    except Exception:
        log.exception("telemetry failed beside the governor; it acts all the same")
