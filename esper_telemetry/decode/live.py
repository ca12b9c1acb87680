"""Reads a run from a collector while it arrives: the last events, then every durable frame that is added.

The one file of this package that uses grpc. Headers and frames that arrive are decoded by the same code as those of a
stored record. A connection that breaks is made again from the sequence numbers reached, for a limited time.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.jsonlines import StreamKeys
from esper_telemetry.decode.segments import SegmentDecoder
from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import PayloadReader, Segment
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esper_telemetry.decode.event import Event
    from esper_telemetry.decode.event_filter import Filter
    from esper_telemetry.decode.types import Origin

_ANSWER_S = 10.0
_RETRY_S = 0.5
_TRIES = 60
_LONGEST_MESSAGE = 2 << 20
# A collector that stops or restarts; everything else is no matter of waiting.
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class LiveSource(Protocol):
    """A collector, and what proves both ends: `uplink.endpoint.Endpoint` is one."""

    @property
    def address(self) -> str:
        """For errors."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""

    def channel(self, **options: Any) -> grpc.Channel:
        """Open a channel of its own, with further arguments of gRPC."""

    def misconfiguration(self) -> str:
        """Return what keeps both ends apart though the collector answers; empty where waiting may help."""


class LiveTail:
    """The end of a run at a collector; the twin of Tail.

    Args:
        source: the collector.
        run_id: the run; empty for the one that started last.
        wanted: which events.
        expand: whether a block of steps is given as its rows.

    Raises:
        RecordError: the collector does not answer, refuses, or has no such run.

    Attributes:
        run_id: the run.
    """

    def __init__(self, source: LiveSource, run_id: str, wanted: Filter, *, expand: bool = True) -> None:
        self._source = source
        self._wanted = wanted
        self._expand = expand
        self._reader = PayloadReader(source.address)
        self._segments: dict[bytes, Segment] = {}
        self._origins: dict[bytes, Origin] = {}
        self._start_over()
        self._reached: dict[bytes, int] = {}
        self._ended: set[bytes] = set()
        self._call: Any = None
        self._stopping = threading.Event()
        summary = self._find(run_id)
        self.run_id = summary.run_id
        self._producers = {each.producer_id: each for each in summary.producers if wanted.wants_rank(each.rank)}

    @property
    def warnings(self) -> Sequence[str]:
        """What was found damaged or missing so far."""
        return self._faults.warnings

    @property
    def unknown(self) -> Mapping[str, int]:
        """Events so far that the run does not explain, by the name of their type."""
        return self._faults.unknown

    @property
    def streams(self) -> int:
        """Producers that are known."""
        return len(self._producers)

    @property
    def keys(self) -> StreamKeys:
        """What tells the producers apart that are known."""
        several = len(self._producers) > 1
        return StreamKeys(stream=several, rank=several, attempt=several)

    @property
    def types(self) -> None:
        """The types that the run declares: not known before its headers arrive with the frames."""
        return

    def last(self, count: int) -> list[Event]:
        """Return the last `count` wanted events that the collector has now, producers merged by time.

        Raises:
            RecordError: the collector does not answer or refuses.
        """
        span = count
        while True:
            self._start_over()
            starts = {key: max(1, each.durable_seq - span + 1) for key, each in self._producers.items()}
            found = [] if not count else [event for frame in self._stored(starts) for event in self._events(frame)]
            if len(found) >= count or all(start == 1 for start in starts.values()):
                break
            span *= 16  # what is wanted is rare: look further back
        self._reached = {key: each.durable_seq for key, each in self._producers.items()}
        return sorted(found, key=lambda event: event.time_unix_nano)[-count:] if count else []

    def follow(self, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[list[Event]]:
        """Yield what is added after `last`, frame by frame, until every producer that is known has ended.

        Without a call of `last` before it, the run is given from its first event.

        Args:
            sleep: how to wait before a connection is made again.

        Raises:
            RecordError: the collector refuses, or has been away for too long.
        """
        tries = 0
        while not self._stopping.is_set():
            try:
                for frame in self._subscribe(self._reached):
                    if self._stopping.is_set():
                        return
                    tries = 0
                    self._tell_gap(frame)
                    events = [event for event in self._events(frame) if event.seq > self._reached_before(frame)]
                    self._advance(frame)
                    if events:
                        yield events
                    if self._ended and self._ended >= self._segments.keys():
                        return
            except grpc.RpcError as error:
                if self._stopping.is_set():
                    return
                tries += 1
                if error.code() not in _TRANSIENT or tries > _TRIES:
                    raise self._refused(error) from None
            sleep(_RETRY_S)

    def stop(self) -> None:
        """End `follow` soon, wherever it waits. Any thread may call it, once or several times."""
        self._stopping.set()
        call = self._call
        if call is not None:
            call.cancel()

    def _start_over(self) -> None:
        """Forget what was read: frames that come again would be taken for copies."""
        self._faults = Faults(strict=False)
        self._decoder = SegmentDecoder(self._wanted, self._faults, expand=self._expand)
        self._origins.clear()

    # --- calls --------------------------------------------------------------------------------------------------------

    def _find(self, run_id: str) -> collector_pb2.RunSummary:
        runs: list[collector_pb2.RunSummary] = []
        page = ""
        try:
            with self._source.channel(max_receive_message_length=_LONGEST_MESSAGE) as channel:
                stub: Any = collector_pb2_grpc.CollectorStub(channel)  # type: ignore[no-untyped-call]
                while True:
                    request = collector_pb2.ListRunsRequest(prefix=run_id, page_size=1000, page_token=page)
                    answer = stub.ListRuns(request, timeout=_ANSWER_S, metadata=self._source.metadata)
                    runs += answer.runs
                    page = answer.next_page_token
                    if not page:
                        break
        except grpc.RpcError as error:
            raise self._refused(error) from None
        found = [run for run in runs if not run_id or run.run_id == run_id]
        if not found:
            place = self._source.address
            if not run_id:
                raise RecordError("the collector has no run yet", path=place)
            alike = "".join(f" {run.run_id}" for run in runs[:3])
            hint = f"these start so:{alike}" if alike else f"esper-telemetry runs list {place} shows those it has"
            raise RecordError(f"the collector has no run {run_id!r}; {hint}", path=place)
        return max(found, key=lambda run: max(each.started_unix_nano for each in run.producers))

    def _stored(self, starts: Mapping[bytes, int]) -> Iterator[collector_pb2.Frame]:
        try:
            yield from self._subscribe({key: start - 1 for key, start in starts.items()}, stored_only=True)
        except grpc.RpcError as error:
            raise self._refused(error) from None

    def _subscribe(self, reached: Mapping[bytes, int], *, stored_only: bool = False) -> Iterator[collector_pb2.Frame]:
        positions = [collector_pb2.Position(producer_id=key, from_seq=last + 1) for key, last in reached.items()]
        request = collector_pb2.SubscribeRequest(run_id=self.run_id, positions=positions, stored_only=stored_only)
        with self._source.channel(max_receive_message_length=_LONGEST_MESSAGE) as channel:
            stub: Any = collector_pb2_grpc.CollectorStub(channel)  # type: ignore[no-untyped-call]
            call = self._call = stub.Subscribe(request, metadata=self._source.metadata)
            if self._stopping.is_set():  # between the question in `follow` and the call
                call.cancel()
            try:
                yield from call
            finally:
                self._call = None
                call.cancel()

    def _refused(self, error: Any) -> RecordError:
        wrong = self._source.misconfiguration() if error.code() is grpc.StatusCode.UNAVAILABLE else ""
        if wrong:
            return RecordError(wrong, path=self._source.address)
        status = error.code().name.lower().replace("_", " ")
        return RecordError(f"the collector answers {status}: {error.details()}", path=self._source.address)

    # --- frames -------------------------------------------------------------------------------------------------------

    def _events(self, frame: collector_pb2.Frame) -> Iterator[Event]:
        kind = frame.WhichOneof("content")
        if kind == "schema":
            self._segments[frame.producer_id] = Segment.of_header(frame.schema.header)
            self._origins.pop(frame.producer_id, None)
        elif kind == "skip":
            first, last = frame.skip.first_seq, frame.skip.last_seq
            self._faults.warn(self.run_id, f"sequence numbers {first:,} to {last:,} never reached the collector")
        elif kind == "batch" and frame.producer_id in self._segments:
            segment, batch = self._segments[frame.producer_id], frame.batch
            if self._wanted.wants_rank(segment.header.rank):
                numbers = batch.first_seq, batch.last_seq
                yield from self._decoder.arrived(self._reader, batch.payload, self._origin(frame.producer_id), numbers)

    def _origin(self, producer_id: bytes) -> Origin:
        origin = self._origins.get(producer_id)
        if origin is None:
            found = self._decoder.origin(self._segments[producer_id], self._reader.path)
            origin = self._origins[producer_id] = found
        return origin

    def _tell_gap(self, frame: collector_pb2.Frame) -> None:
        """Report the sequence numbers that the collector does not have any more, or never had."""
        kind = frame.WhichOneof("content")
        reached = self._reached.get(frame.producer_id)
        if kind in ("batch", "skip") and reached is not None and getattr(frame, kind).first_seq > reached + 1:
            last = getattr(frame, kind).first_seq - 1
            self._faults.warn(self.run_id, f"sequence numbers {reached + 1:,} to {last:,} are missing at the collector")

    def _reached_before(self, frame: collector_pb2.Frame) -> int:
        return self._reached.get(frame.producer_id, 0)

    def _advance(self, frame: collector_pb2.Frame) -> None:
        kind = frame.WhichOneof("content")
        if kind in ("batch", "skip"):
            self._reached[frame.producer_id] = getattr(frame, kind).last_seq
            self._ended.discard(frame.producer_id)
        elif kind == "close" and frame.close.outcome != collector_pb2.CLOSE_OUTCOME_INCOMPLETE:
            self._ended.add(frame.producer_id)
