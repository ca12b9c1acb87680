"""What a policy chose and what its masks forbade, collected step by step and counted once a batch.

A step costs two appends: libraries make new arrays for each step, so references are kept and joined at the flush. The
counts become the events of `esper_telemetry.counters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.counters import CounterSpec, HostCounters, emit_snapshot, from_space
from esper_telemetry.errors import CounterError, MissingExtraError

try:
    import numpy as np
except ModuleNotFoundError as error:
    raise MissingExtraError("the package 'numpy'", "torch") from error

if TYPE_CHECKING:
    from esper_telemetry import Run


class Decisions:
    """The decisions of a batch.

    Not for several threads at once. A space without options to count (continuous actions) makes every call a no-op.

    Args:
        run: where the counts go.
        space: action space of one environment.
    """

    def __init__(self, run: Run, space: Any) -> None:
        self._run = run
        self._steps: list[tuple[Any, Any, Any]] = []
        self._bank: HostCounters | None = None
        try:
            self._bank = HostCounters(CounterSpec(from_space(space)))
        except CounterError:
            return

    def add(self, actions: Any, masks: Any = None, valid: Any = None) -> None:
        """Keep one step of B environments.

        Args:
            actions: integers of shape [B] or [B, heads]; the array must not be written into before the flush.
            masks: of shape [B, options of all heads], True = allowed; None where there are none.
            valid: bool of shape [B]: False where the row was no decision; None where all were.
        """
        if self._bank is not None:
            self._steps.append((actions, masks, valid))

    def flush(self, batch_idx: int) -> None:
        """Count what was kept, and record it as the batch `batch_idx`."""
        steps, self._steps = self._steps, []
        if self._bank is None or not steps:
            return
        for part in (False, True):  # with masks, and without
            chosen = [step for step in steps if (step[1] is None) is part]
            if chosen:
                self._record(self._bank, chosen)
        self._bank.flush(batch_idx=batch_idx)
        for snapshot in self._bank.poll():
            emit_snapshot(self._run, snapshot)

    def _record(self, bank: HostCounters, steps: list[tuple[Any, Any, Any]]) -> None:
        sizes = [len(actions) for actions, _, _ in steps]
        actions = np.concatenate([np.reshape(one, (size, -1)) for (one, _, _), size in zip(steps, sizes, strict=True)])
        masks = valid = None
        if steps[0][1] is not None:
            flat = [np.reshape(mask, (size, -1)) for (_, mask, _), size in zip(steps, sizes, strict=True)]
            masks = np.concatenate(flat).astype(bool)
        if any(step[2] is not None for step in steps):
            given = zip(steps, sizes, strict=True)
            valid = np.concatenate([np.ones(size, bool) if step[2] is None else step[2] for step, size in given])
        bank.record_step(actions, masks, valid=valid)
