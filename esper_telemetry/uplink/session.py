"""One producer's stream to a collector: what to send next and what an answer means. Pure logic.

No grpc, no file, no thread, and no clock but the `now` (monotonic seconds) of each call. Frames come from a
source that can go back to any number; the session keeps numbers only, so that resending needs
no memory. A connection may break at any place: the next Welcome states where to go on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recordfile.layout import Skip, SkipReason
from esper_telemetry.uplink.retry import Action, Backoff, Doubts, ProtocolTimes, StreamEnd, judge
from esper_telemetry.uplink.segment_frames import Frame
from esper_telemetry.uplink.terms import BatchMessage, Tally, WelcomeLimits, batch_message, skip_message
from esper_telemetry.v1 import collector_pb2
from esper_telemetry.wire import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.uplink.backlog_rate import BacklogRate
    from esper_telemetry.uplink.segment_frames import StreamSchema
    from esper_telemetry.uplink.terms import FrameSource

_MAX_HELLO_BYTES = 64 * 1024
_DURABLE = (collector_pb2.DURABILITY_FILE, collector_pb2.DURABILITY_CONSUMER)


class _Flight(NamedTuple):
    """Something sent and not yet accepted."""

    first_seq: int
    last_seq: int
    size: int
    is_frame: bool


class Session:
    """The client's end of one producer's stream; collector/session.py is the server's end of the same wire.

    Args:
        source: the frames.
        rng: returns a random number in [0, 1); for pauses.
        timing: times of the protocol.
        pace: slows a backlog down; None sends as fast as the window allows.
        client: name of this software.

    Attributes:
        durable_seq: everything up to it is safe at the collector.
        accepted_seq: everything up to it was taken.
        epoch: number of the present stream.
        epoch_known: the collector was asked for the epoch of a sender before this one.
        connected: a Welcome has come and the stream has not ended.
        complete: everything was sent, a Close as the last message.
        promised: durable means fdatasynced there; without it nothing may be deleted here.
        retry_at: do not connect before.
        finished: all is durable, and the collector knows that there is no more.
        stopped: why this session will not go on by itself; empty while it will.
        ending: how the last stream ended.
        tally: what was done.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        rng: Callable[[], float],
        timing: ProtocolTimes | None = None,
        pace: BacklogRate | None = None,
        client: str = "",
    ) -> None:
        self._source = source
        self._rng = rng
        self._timing = timing or ProtocolTimes()
        self._pace = pace
        self._client = client
        self._backoff = Backoff(self._timing, rng)
        self._doubts = Doubts()
        self._sent_seq = 0
        self._open = False
        self.durable_seq = self.accepted_seq = 0
        self.epoch = 0
        self.epoch_known = self.promised = self.finished = False
        self.retry_at = 0.0
        self.stopped = ""
        self.ending: StreamEnd | None = None
        self.tally = Tally()
        self._forget(0.0)

    def _forget(self, now: float) -> None:
        """Forget everything that belongs to one stream."""
        self.connected = self.complete = False
        self._hello_due = False
        self._drained: float | None = None
        self._item: Frame | Skip | None = None
        self._flights: deque[_Flight] = deque()
        self._flight_bytes = 0
        self._announced = b""
        self._limits = WelcomeLimits()
        self._window_bytes = self._limits.window_bytes
        self._throttled_until = now
        self._opened = self._heard = self._spoke = now
        self._heartbeat = self._timing.heartbeat
        self._duplicates = self.tally.duplicates

    # --- the life of a stream -----------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Everything was sent, and all of it is durable: what is missing is the collector's end of the stream."""
        return self.complete and self.durable_seq >= self._source.final_seq

    @property
    def producer(self) -> tuple[str, bytes]:
        """Run and producer whose numbers are sent."""
        return self._source.header.run_id, self._source.header.producer_id

    def learn_epoch(self, epoch: int) -> None:
        """Take a number above the highest epoch that the collector knows of this producer; before the Hello."""
        self.epoch = max(self.epoch, epoch + 1)
        self.epoch_known = True

    def connect(self, now: float) -> None:
        """Start a stream; `send` gives its Hello.

        Raises:
            RecordError: the source cannot be read.
        """
        self._forget(now)
        self._open = self._hello_due = True
        self.epoch += 1
        self.tally.connects += 1
        self._source.seek(self.durable_seq + 1)  # so that the Hello names the schema of the frame to come

    def send(self, now: float, wall_ns: int = 0) -> collector_pb2.ClientMessage | BatchMessage | None:
        """Return the next message; None when there is nothing to send now.

        Args:
            now: monotonic seconds.
            wall_ns: wall clock, for heartbeats.

        Raises:
            RecordError: the source cannot be read.
        """
        message: collector_pb2.ClientMessage | BatchMessage | None = None
        if self._hello_due:
            self._hello_due = False
            message = collector_pb2.ClientMessage(hello=self._hello())
        elif self.connected and not self.complete:  # nothing may be sent after Close
            if self._drained is None and now >= self._throttled_until:
                message = self._next_message(now)
            if message is None and now - self._spoke >= self._heartbeat:
                message = collector_pb2.ClientMessage(heartbeat=collector_pb2.Heartbeat(sent_unix_nano=wall_ns))
        if message is not None:
            self._spoke = now
        return message

    @property
    def batches_bytes(self) -> int:
        """Payload of all frames that the collector takes in one message; 0: each frame is a message of its own."""
        return self._limits.batches_bytes

    def receive(self, now: float, message: collector_pb2.ServerMessage) -> None:
        """Take a message of the collector.

        Raises:
            RecordError: the source cannot be read.
        """
        self._heard = now
        kind = message.WhichOneof("message")
        if kind == "welcome":
            self._welcome(message.welcome)
        elif kind == "ack" and self.connected:
            self._ack(now, message.ack)
        elif kind == "drain":
            self._drained = (message.drain.reconnect_after_ms + self._rng() * message.drain.jitter_ms) / 1000

    def end(self, now: float, ending: StreamEnd) -> None:
        """Take the end of the stream, however it came."""
        if not self._open:
            return
        self._open = False
        self.ending = ending
        action = judge(ending)
        if ending.code == "OK" and self.settled:
            self.finished = True
        elif action is Action.STOP or (action is Action.DOUBT and not self._doubt(ending)):
            self.stopped = str(ending)
        if now - self._opened > self._timing.backoff_last:
            self._backoff.succeeded()
        pause = self._backoff.pause(action, ending)
        drained = self._drained if action in (Action.BACK_OFF, Action.WAIT) else None
        self.retry_at = now + (pause if drained is None else drained)
        self._forget(now)

    def dead(self, now: float) -> bool:
        """Tell whether the collector has been silent for too long: end the stream."""
        return self._open and now - self._heard >= self._heartbeat * self._timing.heartbeats_missed

    def wake_at(self, now: float) -> float:
        """Return the time at which `send` or `dead` will return something new even if nothing happens."""
        times = [self._heard + self._heartbeat * self._timing.heartbeats_missed]
        if self.connected and not self.complete:
            times.append(self._spoke + self._heartbeat)
        if self._throttled_until > now:
            times.append(self._throttled_until)
        return min(times)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _hello(self) -> collector_pb2.Hello:
        header = self._source.header
        self._announced = self._source.schema.fingerprint
        hello = collector_pb2.Hello(
            min_protocol=PROTOCOL,
            max_protocol=PROTOCOL,
            run_id=header.run_id,
            producer_id=header.producer_id,
            session_epoch=self.epoch,
            schema_fingerprint=self._announced,
            first_available_seq=self._source.first_seq,
            codecs=[collector_pb2.CODEC_ZSTD],
            client=self._client,
            writer=header.writer,
            rank=header.rank,
            labels=header.attributes,
        )
        if hello.ByteSize() > _MAX_HELLO_BYTES:  # labels are for people; a stream must not fail for them
            hello.ClearField("labels")
        return hello

    def _next_message(self, now: float) -> collector_pb2.ClientMessage | BatchMessage | None:
        item = self._item or self._source.read()
        if item is None:
            return self._close()
        item = self._item = self._admit(item)
        schema = item.schema if isinstance(item, Frame) else self._source.schema
        size = len(item.payload) if isinstance(item, Frame) else 0
        if not self._fits(size):
            return None
        if schema.fingerprint != self._announced and (size or not self._announced):
            return self._announce(schema)
        if size and self._pace is not None and (pause := self._pace.pause(now)):
            self._throttled_until = now + pause
            return None
        self._item = None
        return self._launch(now, item, size)

    def _admit(self, item: Frame | Skip) -> Frame | Skip:
        """Return the item, or the Skip in the place of a frame that cannot be sent."""
        if isinstance(item, Skip):
            return item
        if len(item.payload) > self._limits.frame_bytes or item.descriptor.raw_size > self._limits.raw_bytes:
            return Skip(item.first_seq, item.last_seq, SkipReason.TOO_BIG)
        reason = self._doubts.given_up.get(item.first_seq)
        return item if reason is None else Skip(item.first_seq, item.last_seq, reason)

    def _fits(self, size: int) -> bool:
        if not self._flights:
            return True  # a window smaller than a frame must not stop the stream
        if self._doubts.careful(self.accepted_seq):
            return False
        return len(self._flights) < self._limits.window_frames and self._flight_bytes + size <= self._window_bytes

    def _announce(self, schema: StreamSchema) -> collector_pb2.ClientMessage | None:
        message = collector_pb2.Schema(fingerprint=schema.fingerprint, header=schema.header)
        size = message.ByteSize()
        if size > self._limits.schema_bytes:
            self.stopped = f"the schema takes {size:,} bytes; the collector takes {self._limits.schema_bytes:,}"
            return None
        self._announced = schema.fingerprint
        return collector_pb2.ClientMessage(schema=message)

    def _launch(self, now: float, item: Frame | Skip, size: int) -> collector_pb2.ClientMessage | BatchMessage:
        repeated = item.last_seq <= self._sent_seq
        self._flights.append(_Flight(item.first_seq, item.last_seq, size, isinstance(item, Frame)))
        self._flight_bytes += size
        self._sent_seq = max(self._sent_seq, item.last_seq)
        if isinstance(item, Skip):
            self.tally.skipped[item.first_seq, item.last_seq] = item.reason
            return collector_pb2.ClientMessage(skip=skip_message(item))
        if self._pace is not None:
            self._pace.sent(now, item.descriptor, size)
        self.tally.frames += 1
        self.tally.bytes += size
        self.tally.repeated += repeated
        return batch_message(item)

    def _close(self) -> collector_pb2.ClientMessage | None:
        if self._source.outcome is None:
            return None
        self.complete = True
        close = collector_pb2.Close(final_seq=self._source.final_seq)
        close.outcome = self._source.outcome  # type: ignore[assignment]  # a number of the enum
        return collector_pb2.ClientMessage(close=close)

    # --- receiving ----------------------------------------------------------------------------------------------------

    def _welcome(self, welcome: collector_pb2.Welcome) -> None:
        self.connected = True
        self._limits = WelcomeLimits.of(welcome.limits)
        self._window_bytes = self._limits.window_bytes
        if welcome.heartbeat_ms:
            self._heartbeat = welcome.heartbeat_ms / 1000
        if welcome.need_schema:
            self._announced = b""
        self.promised = welcome.durability in _DURABLE
        self.durable_seq = self.accepted_seq = welcome.durable_seq
        self._source.seek(welcome.durable_seq + 1)

    def _ack(self, now: float, ack: collector_pb2.Ack) -> None:
        before = self.durable_seq + self.accepted_seq
        self.durable_seq = max(self.durable_seq, ack.durable_seq)
        self.accepted_seq = max(self.accepted_seq, ack.accepted_seq, ack.durable_seq)
        while self._flights and self._flights[0].last_seq <= self.accepted_seq:
            self._flight_bytes -= self._flights.popleft().size
        self.tally.duplicates = self._duplicates + ack.duplicates
        self._window_bytes = ack.window_bytes or self._limits.window_bytes
        if self.durable_seq + self.accepted_seq > before:
            self._backoff.succeeded()
        if ack.throttle_ms:
            self._throttled_until = now + ack.throttle_ms / 1000
        if ack.resend_from and ack.resend_from <= self._source.final_seq:
            self._rewind(ack.resend_from)

    def _rewind(self, seq: int) -> None:
        self._source.seek(seq)
        self._item = None
        self.complete = False
        self.accepted_seq = max(self.durable_seq, seq - 1)
        self._flights.clear()
        self._flight_bytes = 0

    def _doubt(self, ending: StreamEnd) -> bool:
        under_way = [flight.first_seq for flight in self._flights if flight.is_frame]
        return self._doubts.refused(ending.code, under_way, self._sent_seq)
