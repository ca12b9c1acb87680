"""The ONE file of esper that knows the SDK: what the trainer reports, and the hub that records it.

The trainer builds a `TelemetryEvent`: a type and one flat dict, with the keys and values that
`esper_telemetry.read(path)` gives back as `.data`: payload and context together, enums by the names that
readers print. The SDK takes it as it is. A bad event is counted there as invalid; nothing here raises into
the trainer, reads a device, or changes what it learns.
"""

from __future__ import annotations

import enum
import logging
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import esper_telemetry
from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.errors import TelemetryError
from esper_telemetry.schema import LEVELS, event_classes, event_type
from esper_telemetry.v1 import logged_pb2, process_pb2, rl_pb2, steps_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message
    from torch import Tensor

    from esper_telemetry.counters import DeviceCounters, GradientWatch, Snapshot

TELEMETRY_LEVELS = tuple(LEVELS)
"""Names of the levels, least first."""

SCHEMAS = (seed_pb2, trainer_pb2, training_pb2, rl_pb2, logged_pb2, process_pb2, steps_pb2)
"""Modules whose events the trainer emits."""

__all__ = [
    "TELEMETRY_LEVELS",
    "Hub",
    "TelemetryError",
    "TelemetryEvent",
    "TelemetryEventType",
    "count_events",
    "get_hub",
    "open_counters",
    "open_hub",
    "use_run",
    "watch_gradients",
]

SYSTEM_INTERVAL_S = 10.0
"""Seconds between two samples of what the trainer takes of its machine."""

log = logging.getLogger(__name__)


class TelemetryEventType(enum.Enum):
    """Every event the trainer emits; the value is its short name in the schema."""

    SEED_GERMINATED = "seed.germinated"
    SEED_STAGE_CHANGED = "seed.stage_changed"
    SEED_GATE_EVALUATED = "seed.gate_evaluated"
    SEED_BLEND_PROGRESSED = "seed.blend_progressed"
    SEED_FOSSILIZED = "seed.fossilized"
    SEED_CULLED = "seed.culled"
    SEED_ENDED = "seed.ended"
    GOVERNOR_PANICKED = "governor.panicked"
    GOVERNOR_ROLLED_BACK = "governor.rolled_back"
    ACTION_TAKEN = "policy.action_taken"
    COUNTERFACTUAL_COMPUTED = "counterfactual.computed"
    HOST_COMPLETED = "host.completed"
    EPISODE_COMPLETED = "episode.completed"
    EPOCH_COMPLETED = "epoch.completed"
    BATCH_COMPLETED = "batch.completed"
    TREND_CHANGED = "batch.trend_changed"
    PPO_UPDATE_COMPLETED = "ppo.update_completed"
    ANOMALY_DETECTED = "ppo.anomaly_detected"
    ACTION_DISTRIBUTION = "policy.action_distribution"
    MASK_HIT_RATES = "policy.mask_hit_rates"
    REWARD_SUMMARY = "reward.summary"
    THROUGHPUT = "perf.throughput"
    SCALAR_LOGGED = "scalar.logged"
    SCALAR_SUMMARIZED = "scalar.summarized"
    HISTOGRAM_SUMMARIZED = "histogram.summarized"
    COUNTERS_CHECKED = "counters.checked"
    STEP_BLOCK = "steps.block"
    CHECKPOINT_SAVED = "checkpoint.saved"
    CHECKPOINT_LOADED = "checkpoint.loaded"

    @property
    def message_class(self) -> type[Message]:
        """The event class of the schema."""
        return _message_class(self)


@dataclass(slots=True)
class TelemetryEvent:
    """One event of the trainer. It keeps its data as given; the hub checks it.

    Attributes:
        event_type: what happened.
        data: payload and context fields in one flat dict; None means not measured.
    """

    event_type: TelemetryEventType
    data: dict[str, Any] = field(default_factory=dict)


@cache
def _message_class(kind: TelemetryEventType) -> type[Message]:
    classes = [cls for module in SCHEMAS for cls in event_classes(module)]
    return next(cls for cls in classes if event_type(cls).name == kind.value)


@contextmanager
def _said_and_not_raised() -> Iterator[None]:
    """Keep an error of telemetry out of the trainer."""
    try:
        yield
    except Exception:
        log.exception("telemetry failed; training goes on")


class Hub:
    """Where the trainer's events go. Without a run it is silent.

    Args:
        run: the SDK's run, or None.
        step_blocks: the actions of a batch travel as one block instead of one event each.

    Attributes:
        seconds: time spent inside calls of this hub.
        counter_reads: device→host copies made for telemetry.
    """

    def __init__(self, run: esper_telemetry.Run | None = None, *, step_blocks: bool = False) -> None:
        self.run = run
        self.step_blocks = step_blocks
        self.seconds = 0.0
        self.counter_reads = 0
        self._configured = run.level if run is not None else "off"

    def wants(self, kind: TelemetryEventType) -> bool:
        """Tell whether events of this kind are recorded now: ask before measuring for telemetry alone."""
        return self.run is not None and self.run.wants(_message_class(kind))

    def emit(self, event: TelemetryEvent) -> None:
        """Hand `event` to the run; what is wrong with it is counted there, never raised here."""
        if self.run is None:
            return
        started = time.perf_counter()  # not `timed`: a generator costs as much as a small event
        try:
            self.run.emit(event.event_type.message_class, **event.data)
        except Exception:  # telemetry never raises into the trainer
            log.exception("%r is no event of the schema and was not recorded", event)
        self.seconds += time.perf_counter() - started

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time spent in the block to `seconds`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    @contextmanager
    def phase(self, name: str, **context: Any) -> Iterator[None]:
        """Time a block as a phase of the run; blocks inside it get its name before theirs."""
        phase = self.run.phase(name, **context) if self.run is not None else nullcontext()
        phase.__enter__()
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            with _said_and_not_raised():
                phase.__exit__(type(error) if error is not None else None, error, None)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Report how far the training is; called as often as one likes, recorded once a second."""
        if self.run is not None:
            with _said_and_not_raised():
                self.run.progress(done=done, total=total, unit=unit)

    def share_of(self, seconds: float) -> float:
        """Return what telemetry took of a wall time: calls of this hub and the writer's processor time, 0 to 1."""
        if self.run is None or seconds <= 0.0:
            return 0.0
        return (self.seconds + self.run.stats().writer_cpu_s) / seconds

    def escalate(self) -> None:
        """Record everything from now on; a run whose user turned telemetry off stays off."""
        if self.run is not None and self._configured not in ("off", "lifecycle"):
            self.run.set_level("debug", reason="anomaly")

    def relax(self) -> None:
        """Go back to the level the run was opened with."""
        if self.run is not None and self.run.level != self._configured:
            self.run.set_level(self._configured, reason="anomaly_over")


def open_counters(
    device: str,
    *,
    heads: Mapping[str, Sequence[str]],
    relevant: Mapping[str, Sequence[str]],
    values: Mapping[str, Sequence[float]],
    scalars: Sequence[str] = (),
    env_ids: Sequence[int] | None,
) -> DeviceCounters:
    """Open a bank of counters on a device.

    Args:
        device: where the recorded tensors live.
        heads: options by head; the first head is the deciding one, and its options are names of LifecycleOp.
        relevant: head → options of the deciding head for which it matters.
        values: values recorded beside the heads and the rewards, with the edges of their histograms.
        scalars: further values, without histograms.
        env_ids: environments of a step, to keep the steps' rows (ActionTaken) as well; None keeps counts only.

    Raises:
        TelemetryError: the bank cannot be used so.
    """
    from esper_telemetry.counters import CounterSpec, DeviceCounters, StepRow  # torch and numpy: only to count

    decider = next(iter(heads))
    row = StepRow(
        TelemetryEventType.ACTION_TAKEN.message_class,
        actions={head: head if head == decider else f"{head}_id" for head in heads},
        masked={head: f"{head}_masked" for head in heads},
        forced={head: f"{head}_forced" for head in heads},
        success="action_success",
        scalars={"reward": "reward"},
    )
    rules = {head: (decider, options) for head, options in relevant.items()}
    spec = CounterSpec(heads, scalars=("reward", *values, *scalars), histograms=values, relevant=rules, row=row)
    return DeviceCounters(spec, device, steps=env_ids is not None, env_ids=env_ids)


def watch_gradients(groups: Mapping[str, Iterable[Tensor]]) -> GradientWatch:
    """Watch the gradients of named groups of parameters; a bank opened with its `scalars` takes them.

    Raises:
        TelemetryError: a group has no parameters.
    """
    from esper_telemetry.counters import GradientWatch

    return GradientWatch(groups)


def count_events(snapshots: Sequence[Snapshot]) -> list[tuple[int, list[TelemetryEvent]]]:
    """Turn snapshots into the events of each batch; those of several devices are added up.

    Of the distributions only that of the deciding head is kept: the others' are in the mask hit rates.
    """
    from esper_telemetry.counters import merge_snapshots

    groups: dict[tuple[int, int], list[Snapshot]] = {}
    for snapshot in snapshots:
        groups.setdefault((snapshot.batch_idx, snapshot.first_batch_idx), []).append(snapshot)
    batches = []
    for (batch_idx, _), group in sorted(groups.items()):
        merged = merge_snapshots(group)
        other_heads = set(merged.spec.heads) - {merged.spec.deciding_head}
        found = [
            (TelemetryEventType(event_type(cls).name), fields)
            for cls, fields in merged.events()
            if fields.get("head") not in other_heads
        ]
        batches.append((batch_idx, [TelemetryEvent(kind, {**merged.context, **fields}) for kind, fields in found]))
    return batches


_silent = Hub()
_current = _silent


def get_hub() -> Hub:
    """Return the hub of the open run; a silent one where none is open."""
    return _current


@contextmanager
def use_run(run: esper_telemetry.Run, *, step_blocks: bool = False) -> Iterator[Hub]:
    """Make a run's hub the current one until the block ends."""
    global _current  # noqa: PLW0603 - one hub per process, as get_hub() promises
    before, _current = _current, Hub(run, step_blocks=step_blocks)
    try:
        yield _current
    finally:
        _current = before


@contextmanager
def open_hub(
    directory: str | Path | None,
    *,
    name: str,
    config: Mapping[str, Any] | None = None,
    level: str = "normal",
    lifecycle_only: bool = False,
    step_blocks: bool = False,
    **options: Any,
) -> Iterator[Hub]:
    """Start a run and make its hub the current one until the block ends; a failing block marks the run failed.

    Args:
        directory: folder of the records; None keeps no record, and the hub is silent.
        name: name of the run.
        config: configuration that the run's first event carries.
        level: one of TELEMETRY_LEVELS.
        lifecycle_only: lifecycle events flow whatever the level.
        step_blocks: the actions of a batch travel as one block instead of one event each.
        options: further arguments of `esper_telemetry.start_run`.

    Raises:
        TelemetryError: an option is wrong, or the directory cannot be written.
    """
    if directory is None and not options.get("collector"):
        yield _silent
        return
    record = esper_telemetry.RecordOptions(system_interval=SYSTEM_INTERVAL_S)
    options = {"level": level, "lifecycle_only": lifecycle_only, "schemas": SCHEMAS, "record": record, **options}
    with (
        esper_telemetry.start_run(directory, name=name, config=config, **options) as run,
        use_run(run, step_blocks=step_blocks) as hub,
    ):
        yield hub
