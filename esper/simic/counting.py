"""Counting actions, masks and values on each device, and reading them once per batch.

It keeps one bank of counters per device and decides when they are asked. While no event of theirs is recorded
nothing is kept and nothing is read; what goes wrong in them is logged once and ends the counting, never the
training.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from esper.simic.actions import HEADS, RELEVANT
from esper.telemetry import (
    Hub,
    TelemetryEvent,
    TelemetryEventType,
    count_events,
    get_hub,
    open_counters,
    watch_gradients,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

VALUE_EDGES = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)
"""Histogram of what the policy expects; returns are scaled to about one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CountedStep:
    """One step of the environments on one device, as the counters take it.

    Attributes:
        device: Where the tensors are.
        env_ids: The B environments.
        actions: (B, H), one option per head.
        masks: (B, O) bool, True = allowed.
        successes: By environment: the operation took effect.
        rewards: By environment.
        values: Name → (B,).
        context: What else the rows of step detail carry, such as inner_epoch.
        decided: By environment: False where nothing was left to decide, after a rollback.
    """

    device: str
    env_ids: Sequence[int]
    actions: Tensor
    masks: Tensor
    successes: Sequence[bool]
    rewards: Sequence[float]
    values: Mapping[str, Tensor]
    context: Mapping[str, int]
    decided: Sequence[bool]


class CounterBanks:
    """The banks of a run; only the training thread may call them."""

    def __init__(self) -> None:
        self._hub: Hub = get_hub()
        self._counting = self._broken = False
        self._batch_idx = 0
        self._banks: dict[str, Any] = {}
        self._episodes: dict[int, int] = {}
        self._watch: Any = None
        self._optimizer: torch.optim.Optimizer | None = None

    def watch(self, policy: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Count the gradients and steps of a policy's parts as well, in the bank on its device."""
        groups = {name: list(part.parameters()) for name, part in policy.named_children()}
        self._watch, self._optimizer = watch_gradients(groups), optimizer

    @property
    def keeps_steps(self) -> bool:
        """The rows of this batch's steps travel in a block: do not report them one by one."""
        return self._counting and self._hub.step_blocks

    def begin_batch(self, batch_idx: int, episodes_completed: int) -> None:
        """Start counting a batch if its counts are recorded; `episodes_completed` holds at its end."""
        self._hub, self._batch_idx = get_hub(), batch_idx
        self._counting = self._hub.wants(TelemetryEventType.MASK_HIT_RATES) and not self._broken
        self._episodes[batch_idx] = episodes_completed
        if self._watch is not None:
            self._safely(self._watch_learning)

    def record(self, step: CountedStep) -> None:
        """Take a step of the environments on one device; nothing is computed now."""
        if self._counting:
            self._safely(lambda: self._record(step))

    def end_batch(self) -> list[TelemetryEvent]:
        """Start the one copy of each bank; return the events of the batches whose copies have arrived."""
        return self._safely(self._flush)

    def close(self) -> list[TelemetryEvent]:
        """Wait for the copies under way, and return their events."""
        return self._safely(lambda: self._events([one for bank in self._banks.values() for one in bank.close()]))

    def _record(self, step: CountedStep) -> list[TelemetryEvent]:
        bank = self._banks.get(step.device) or self._open(step)
        success = torch.tensor(step.successes).to(bank.device)
        scalars = {"reward": torch.tensor(step.rewards).to(bank.device)}
        decided = None if all(step.decided) else torch.tensor(step.decided).to(bank.device)
        bank.record_step(step.actions, step.masks, success, scalars, valid=decided, **step.context)
        for name, value in step.values.items():
            bank.record_scalar(name, value)
        return []

    def _flush(self) -> list[TelemetryEvent]:
        if self._counting:
            for bank in self._banks.values():
                self._hub.counter_reads += bank.flush(batch_idx=self._batch_idx) is not None
        return self._events([one for bank in self._banks.values() for one in bank.poll()])

    def _open(self, step: CountedStep) -> Any:
        relevant = {head: [op.name for op in ops] for head, ops in RELEVANT.items()}
        env_ids = list(step.env_ids) if self._hub.step_blocks else None
        where = str(step.actions.device)  # "cpu:0" differs: its tensors are on "cpu"
        bank = open_counters(
            where,
            heads=HEADS,
            relevant=relevant,
            values={"value": VALUE_EDGES},
            scalars=() if self._watch is None else self._watch.scalars,
            env_ids=env_ids,
        )
        self._banks[step.device] = bank
        if self._watch is not None:
            self._watch_learning()
        return bank

    def _watch_learning(self) -> list[TelemetryEvent]:
        """Watch the optimizer while its batches are counted, in the first bank on its device."""
        self._watch.detach()
        bank = next((bank for bank in self._banks.values() if bank.device == self._watch.device), None)
        if self._counting and bank is not None:
            self._watch.attach(self._optimizer, bank)
        return []

    def _events(self, snapshots: list[Any]) -> list[TelemetryEvent]:
        events = []
        for batch_idx, found in count_events(snapshots):
            completed = {"episodes_completed": self._episodes[batch_idx]}
            events += [TelemetryEvent(event.event_type, {**event.data, **completed}) for event in found]
            self._episodes = {number: count for number, count in self._episodes.items() if number > batch_idx}
        return events

    def _safely(self, work: Callable[[], list[TelemetryEvent]]) -> list[TelemetryEvent]:
        with self._hub.timed():
            try:
                return work()
            except Exception:
                self._counting, self._broken = False, True
                self._banks.clear()  # half a batch is no count
                if self._watch is not None:
                    self._watch.detach()
                log.exception("counting actions and masks failed and ends here; the training goes on")
                return []
