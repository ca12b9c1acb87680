"""Records as a Perfetto trace: phases as nested slices, seeds as lanes of their stages, turning points as instants.

It is for the eye: ui.perfetto.dev opens `trace.perfetto`. What has no duration and is no turning point is not in it,
and is reported by type.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import read
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.exports.exportreport import ExportReport
from esper_telemetry.exports.target import Target

if TYPE_CHECKING:
    import os

    from esper_telemetry.decode import Event
    from esper_telemetry.tables.opening import Runs

NAME = "trace.perfetto"
_PHASE, _STAGE = "phase.timed", "seed.stage_changed"
_INSTANTS = {
    "run.started", "run.resumed", "run.finished", "governor.panicked", "governor.rolled_back", "seed.germinated",
    "seed.culled", "seed.fossilized", "seed.ended", "ppo.anomaly_detected", "checkpoint.saved",
}  # fmt: skip
_IDLE = ("DORMANT", None)
_MS = 1_000_000
_SEQUENCE = 1


def export_perfetto(runs: Runs, target: str | os.PathLike[str]) -> ExportReport:
    """Write what took time in runs as `trace.perfetto`: a process for each run and rank.

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder, or a URL that fsspec knows.

    Raises:
        MissingExtraError: perfetto is not installed.
        RecordError: nothing of the runs can be read.
        OSError: the target cannot be written.
    """
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'perfetto', which this export needs,", "perfetto") from None

    place = Target(target)
    records = read(runs, strict=False, expand=False)
    report = ExportReport()
    trace = _Trace(perfetto_trace_pb2)
    left: Counter[str] = Counter()
    for event in records:
        if event.type == _PHASE:
            trace.phase(event)
        elif event.type == _STAGE:
            trace.stage(event)
        elif event.type in _INSTANTS:
            trace.instant(event)
        else:
            left[event.type] += 1
            continue
        report.rows += 1
    trace.end()
    place.write(NAME, trace.serialized())
    report.files, report.bytes = 1, place.size(NAME)
    report.lost = {name: f"{count:,} events: no duration, and no turning point" for name, count in left.items()}
    report.warnings += records.warnings
    return report


class _Trace:
    def __init__(self, protos: Any) -> None:
        self._protos = protos
        self._trace = protos.Trace()
        self._tracks: dict[tuple[Any, ...], int] = {}
        self._stages: dict[int, tuple[int, str]] = {}
        self._slices: list[tuple[int, int, int, str]] = []
        self._last = 0

    def phase(self, event: Event) -> None:
        """Take a named part of the work: it ended at the event's time."""
        took = round(event.data.get("duration_ms", 0.0) * _MS)
        name = str(event.data.get("phase", ""))
        depth = name.count("/")
        # Phases of one depth never overlap in one process; rounding of times may let them touch.
        track = self._track(event, f"phases {depth + 1}" if depth else "phases")
        self._slices.append((track, event.time_unix_nano - took, event.time_unix_nano, name))
        self._last = max(self._last, event.time_unix_nano)

    def stage(self, event: Event) -> None:
        """Take a hop of a seed: the stage before ends, the one after begins."""
        env, slot = event.data.get("env_id", 0), event.data.get("slot_id", "")
        track = self._track(event, f"env {env} {slot}")
        self._leave(track, event.time_unix_nano)
        if event.data.get("to_stage") not in _IDLE:
            self._stages[track] = event.time_unix_nano, str(event.data["to_stage"])
        self._last = max(self._last, event.time_unix_nano)

    def instant(self, event: Event) -> None:
        """Take a turning point."""
        packet = self._packet(event.time_unix_nano)
        packet.track_event.type = packet.track_event.TYPE_INSTANT
        packet.track_event.track_uuid = self._track(event, "events")
        packet.track_event.name = event.type
        for name, value in event.data.items():
            if isinstance(value, (str, int, float)):
                note = packet.track_event.debug_annotations.add(name=name)
                note.string_value = str(value)
        self._last = max(self._last, event.time_unix_nano)

    def end(self) -> None:
        """End the stages that no event ended, and write all slices in the order that nests them."""
        for track in list(self._stages):
            self._leave(track, self._last)
        for track, begin, end, name in sorted(self._slices, key=lambda one: (one[0], one[1], -one[2])):
            first = self._packet(begin)
            first.track_event.type = first.track_event.TYPE_SLICE_BEGIN
            first.track_event.track_uuid = track
            first.track_event.name = name
            last = self._packet(end)
            last.track_event.type = last.track_event.TYPE_SLICE_END
            last.track_event.track_uuid = track

    def serialized(self) -> bytes:
        """Return the trace as bytes."""
        content: bytes = self._trace.SerializeToString()
        return content

    def _leave(self, track: int, time: int) -> None:
        if track in self._stages:
            begin, stage = self._stages.pop(track)
            self._slices.append((track, begin, time, stage))

    def _packet(self, time: int) -> Any:
        return self._trace.packet.add(timestamp=time, trusted_packet_sequence_id=_SEQUENCE)

    def _track(self, event: Event, name: str) -> int:
        process = event.run_id, event.stream, event.rank
        if process not in self._tracks:
            uuid = self._tracks[process] = len(self._tracks) + 1
            descriptor = self._trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
            descriptor.uuid = uuid
            descriptor.process.pid = uuid
            descriptor.process.process_name = f"{event.run_id} rank {event.rank}"
        key = *process, name
        if key not in self._tracks:
            uuid = self._tracks[key] = len(self._tracks) + 1
            descriptor = self._trace.packet.add(trusted_packet_sequence_id=_SEQUENCE).track_descriptor
            descriptor.uuid, descriptor.parent_uuid, descriptor.name = uuid, self._tracks[process], name
        return self._tracks[key]
