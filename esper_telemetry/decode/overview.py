"""A record in a few facts, without a scan: footers, descriptors, and few frames of each stream are read.

Those are the first and the last one, and those that a configuration was given in, which the descriptors tell.
Losses are measured by the sequence numbers (`losses.py`), and what is there twice counts once, as in reading.

Counts by type come from the index, which only a closed file has; without it they are
unknown, not zero.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode.declared import declared_types
from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.landmarks import Landmarks
from esper_telemetry.decode.losses import StreamLosses
from esper_telemetry.decode.streams import OpenReaders, by_stream, frames_once, parts
from esper_telemetry.decode.survey import survey
from esper_telemetry.decode.types import Origin
from esper_telemetry.schema import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esper_telemetry.decode.declared import DeclaredTypes
    from esper_telemetry.decode.inputs import RecordFiles, RecordPath
    from esper_telemetry.decode.streams import SegmentPlace
    from esper_telemetry.decode.survey import Survey
    from esper_telemetry.recordfile import Segment


_JSON, _HASH, _CUT_FROM = "config_json", "config_sha256", "config_bytes"


@dataclass(slots=True)
class StreamSummary:
    """One stream: what one process wrote.

    Attributes:
        run_id: the run.
        run_name: the name the user gave it.
        stream: its name.
        rank: distributed rank.
        host: where it was written.
        pid: process id of the writer.
        writer: the software.
        segments: numbers of the segments that are here.
        bytes: size of their files.
        raw_bytes: size of the events before compression.
        frames: data frames.
        events: events in them.
        events_by_type: the same by short name, or the full one where two share it; None where a file has no
            index, or one of a collector, which counts no types.
        first_time: time of the first event, nanoseconds since 1970 UTC; None without events.
        last_time: time of the last event.
        missing: sequence numbers that were given out and have no event, as far as the segments that are here can tell.
        pruned: sequence numbers before them that retention deleted as configured.
        causes: what the run reports as lost, by cause.
        losses: the measured losses in words: "0 of 12 events", "12 of 90 events: buffer_full 7, 5 without a cause".
        closed: whether every file was closed in good order.
        writing: whether a process is writing the last file now.
        attempt: attempt at the run, from 1.
        parent: producer id of the run's own stream, hex, if a child process wrote this one; else empty.
        started: data of RunStarted; empty where it is not here.
        resumed: data of RunResumed; empty where it is not here.
        configured: data of each RunConfigured.
        finished: data of RunFinished, or of StreamFinished in the stream of a child; empty where it is not here.
    """

    run_id: str
    run_name: str
    stream: str
    rank: int
    host: str
    pid: int
    writer: str
    segments: list[int] = field(default_factory=list)
    bytes: int = 0
    raw_bytes: int = 0
    frames: int = 0
    events: int = 0
    events_by_type: dict[str, int] | None = field(default_factory=dict)
    first_time: int | None = None
    last_time: int | None = None
    missing: int = 0
    pruned: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    losses: str = ""
    closed: bool = True
    writing: bool = False
    attempt: int = 1
    parent: str = ""
    started: dict[str, Any] = field(default_factory=dict)
    resumed: dict[str, Any] = field(default_factory=dict)
    configured: list[dict[str, Any]] = field(default_factory=list)
    finished: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """How it ended: the outcome of RunFinished, else "running" or "killed" by what its last file tells.

        The stream of a child "ended" or "failed" by its own end event, and is "cut off" without one: that is no
        outcome of the run.
        """
        if self.parent:
            ended = "failed" if self.finished.get("reason") == "failed" else "ended"
            return ended if self.finished else "running" if self.writing else "cut off"
        if self.finished:
            return str(self.finished.get("outcome", "finished"))
        return "running" if self.writing else "unknown" if self.closed else "killed"

    @property
    def configuration(self) -> RunConfiguration | None:
        """What the run was configured with, from its start or later; None if that was never given."""
        return run_configuration(self.started, self.configured)


@dataclass(slots=True)
class Summary:
    """A record: its streams, and what is wrong with it.

    Attributes:
        paths: the files.
        streams: in the order of name, rank, attempt and start.
        warnings: what is damaged, missing or cut off, as far as that is known without reading everything.
    """

    paths: list[str]
    streams: list[StreamSummary]
    warnings: list[str]

    @property
    def run_ids(self) -> list[str]:
        """The runs, each once."""
        return list(dict.fromkeys(stream.run_id for stream in self.streams))

    @property
    def events_by_type(self) -> dict[str, int] | None:
        """Events of all streams by short name, most first; None where a stream does not know its own."""
        total: Counter[str] = Counter()
        for stream in self.streams:
            if stream.events_by_type is None:
                return None
            total.update(stream.events_by_type)
        return dict(total.most_common())


def summarize(path: RecordPath | Iterable[RecordPath] | RecordFiles | Survey | None) -> Summary:
    """Return the facts of a record.

    Args:
        path: as for `read`.

    Raises:
        RecordError: as `read`.
    """
    found = survey(path)
    faults = Faults(strict=False)
    faults.warnings += found.warnings
    readers = OpenReaders(found.places, faults)
    types = declared_types(found)
    try:
        streams = [_summarize_stream(group, readers, faults, types) for group in by_stream(found.places)]
    finally:
        readers.close()
    return Summary([str(file) for file in found.files], streams, faults.warnings)


def _summarize_stream(
    places: Sequence[SegmentPlace], readers: OpenReaders, faults: Faults, types: DeclaredTypes
) -> StreamSummary:
    header = places[0].header
    summary = StreamSummary(
        header.run_id, header.run_name, header.stream, header.rank, header.host, header.pid, header.writer
    )
    summary.attempt = places[0].attempt
    summary.parent = header.parent_producer_id.hex()
    losses = StreamLosses()
    ordered = parts(places)
    for part in ordered:
        taken = [readers.take(place) for place in part]
        (reader, segment), *others = taken
        if others:
            faults.copied([str(place.path) for place in part])
        for damage in segment.damage:
            faults.damaged(reader.path, damage)
        copies = [segment, *(other for _, other in others)]
        _add_segment(summary, Origin(segment, reader.path, Counter()), copies, types)
        last_of_file = segment is reader.segments[-1]
        summary.bytes += (reader.size if last_of_file else segment.end) - (segment.offset if part[0].number else 0)
        summary.closed = summary.closed and segment.closed
        landmarks = Landmarks(reader, segment)
        losses.add(part[0], landmarks, copies)
        summary.started = summary.started or landmarks.started
        summary.resumed = summary.resumed or landmarks.resumed
        summary.configured += landmarks.configured
        summary.finished = landmarks.finished or summary.finished
        if part is ordered[-1]:
            place, (reader, segment) = max(
                zip(part, taken, strict=True), key=lambda one: (one[1][1].last_seq, one[1][1].closed)
            )
            landmarks = Landmarks(reader, segment)
            summary.finished = landmarks.finished or summary.finished
            losses.end(place, landmarks, reader, segment)
        for place in part:
            readers.give_back(place.path)
    _add_losses(summary, losses)
    losses.report(faults)
    return summary


def _add_segment(summary: StreamSummary, origin: Origin, copies: Sequence[Segment], types: DeclaredTypes) -> None:
    """Count the frames of a segment, and those that only a copy of it has."""
    segment = copies[0]
    frames = [found[0][1] for found in frames_once(copies)] if len(copies) > 1 else segment.frames
    summary.segments.append(segment.header.segment)
    if frames:
        first, last = min(frame.min_time for frame in frames), max(frame.max_time for frame in frames)
        summary.first_time = first if summary.first_time is None else min(first, summary.first_time)
        summary.last_time = last if summary.last_time is None else max(last, summary.last_time)
    summary.frames += len(frames)
    summary.raw_bytes += sum(frame.raw_size for frame in frames)
    summary.events += sum(frame.records for frame in frames)
    index = segment.index
    # A collector that stores frames without a look inside counts no types.
    if index is None or len(frames) > len(segment.frames) or sum(index.type_counts.values()) < index.records:
        summary.events_by_type = None
    elif summary.events_by_type is not None:
        counts = Counter(summary.events_by_type)
        for type_id, count in index.type_counts.items():
            counts[types.shown(origin.kinds[type_id].full_name)] += count
        summary.events_by_type = dict(counts.most_common())


def _add_losses(summary: StreamSummary, losses: StreamLosses) -> None:
    summary.missing, summary.pruned = losses.missing, losses.pruned
    summary.causes = dict(losses.causes.most_common())
    summary.writing = losses.writing
    summary.losses = losses.summary()


# --- configuration: that of RunStarted, with every RunConfigured put over it ------------------------------------------


@dataclass(slots=True)
class RunConfiguration:
    """A configuration, merged.

    Attributes:
        values: names and values, as JSON has them.
        sha256: hash of the whole configuration, as its writer took it; hex.
        redacted: places of the secrets that were left out.
        cut: parts of it were too large for an event and were cut; the hash is that of the whole.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    redacted: list[str] = field(default_factory=list)
    cut: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Single values by dotted names ("optim.lr"); a list is one value, as compact JSON."""
        return dict(_settings(self.values, ""))


def run_configuration(started: Mapping[str, Any], configured: Iterable[Mapping[str, Any]]) -> RunConfiguration | None:
    """Return the configuration of a run, or None if it was never given.

    Args:
        started: data of its RunStarted.
        configured: data of its RunConfigured events, in their order.
    """
    parts = [part for part in (started, *configured) if _JSON in part]
    if not parts:
        return None
    found = RunConfiguration()
    for part in parts:
        found.values = merged(found.values, _object(part[_JSON]))
        found.sha256 = part.get(_HASH)
        found.redacted += (place for place in part.get("redacted", ()) if place not in found.redacted)
        found.cut = found.cut or _CUT_FROM in part
    return found


def _settings(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{prefix}{name}.")
        else:
            plain = not isinstance(value, (list, dict))
            yield f"{prefix}{name}", value if plain else json.dumps(value, separators=(",", ":"))


def _object(text: str) -> dict[str, Any]:
    """Return an object of JSON; what another writer put there instead is under the name "value"."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"value": value}
