"""One stream of a producer: gaps, duplicates, acks, backpressure, fencing. Pure.

Messages come in, what to store goes out, time is an argument (seconds of any steady clock). `SequenceNumbers` outlive
the streams of a producer; a Session is one stream. It never stores, never waits and never looks into a frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.storage.sequence import SequenceNumbers, Verdict
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from esper_telemetry.collector.limits import CollectorLimits


# A client that may send a byte a second need not be told of years.
_LONGEST_WAIT_S = 3600.0


def claim(numbers: SequenceNumbers, epoch: int, step: int) -> None:
    """Make the stream with `epoch` the one that writes.

    Args:
        numbers: of the producer.
        epoch: counts the connects of the producer.
        step: by how much it may exceed the last one. A leap to the end of the range would lock the producer out.

    Raises:
        Refused: a stream with this or a higher epoch came before (FENCED), or it is no count (NUMBERS).
    """
    last = numbers.epoch
    if epoch > last + step:
        raise Refused("NUMBERS", f"session_epoch {epoch} is no count of connects after {last}; ask GetWatermark")
    if epoch <= last:
        raise Refused("FENCED", f"session_epoch {epoch} is not above {last}; ask GetWatermark, use the next")
    numbers.epoch = epoch


def fence(numbers: SequenceNumbers, epoch: int) -> Refused:
    """Record that a stream at another gateway writes, and its epoch; return what the present stream is told."""
    told = f"a stream with session_epoch {epoch}, at another gateway, writes now, not {numbers.epoch}"
    numbers.epoch = max(numbers.epoch + 1, epoch)
    return Refused("FENCED", f"{told}; ask GetWatermark, use the next")


class Session:
    """One stream of a producer, after its Hello. The client's end of the wire is `uplink.session.Session`.

    Args:
        numbers: the producer's numbers.
        epoch: the stream's session epoch, claimed already.
        fingerprint: the schema that the collector knows already; empty if none.
        limits: what the collector takes.
        now: time of the Hello.

    Attributes:
        epoch: as given.
        duplicates: batches that were there already.
        closed: the Close, once it came.
    """

    def __init__(
        self, numbers: SequenceNumbers, epoch: int, fingerprint: bytes, limits: CollectorLimits, now: float
    ) -> None:
        self._numbers = numbers
        self._limits = limits
        self._fingerprint = fingerprint
        self._heard = now
        self._unacked: list[int] = []  # a deque takes 700 bytes, and is empty most of the time
        self._countable = 0
        self._dirty_since: float | None = None
        self._resend_from = 0
        self._ignored = 0
        self._throttle_ms = 0
        self.epoch = epoch
        self.duplicates = 0
        self.closed: collector_pb2.Close | None = None

    # --- what the client sends ----------------------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Record that a message came, of whatever kind.

        Raises:
            Refused: another stream writes now (FENCED), or the client sent its Close already (MESSAGE_ORDER).
        """
        self._heard = now
        if self._numbers.epoch != self.epoch:
            raise Refused("FENCED", f"session_epoch {self._numbers.epoch} of this producer writes, not {self.epoch}")
        if self.closed is not None:
            raise Refused("MESSAGE_ORDER", "a message after Close; end the stream")

    def schema(self, fingerprint: bytes) -> bool:
        """Take a Schema; return whether it is a new one, to be stored."""
        if fingerprint == self._fingerprint:
            return False
        self._fingerprint = fingerprint
        return True

    def batch(self, batch: collector_pb2.Batch, now: float) -> bool:
        """Return whether `batch` is the next one, to be stored.

        Raises:
            Refused: SCHEMA_UNKNOWN, NUMBERS or GAP.
        """
        self._need_schema(batch.schema_fingerprint)
        if batch.count > batch.last_seq - batch.first_seq + 1:
            raise Refused(
                "NUMBERS", f"{batch.count:,} events do not fit into {batch.first_seq:,} to {batch.last_seq:,}"
            )
        verdict = self._judge(batch.first_seq, batch.last_seq, now)
        if verdict is Verdict.STRADDLES:
            raise Refused(
                "NUMBERS",
                f"the frame covers {batch.first_seq:,} to {batch.last_seq:,}, and everything up to"
                f" {self._numbers.taken_seq:,} is stored: a frame cannot be split",
                expected_seq=self._numbers.taken_seq + 1,
            )
        return verdict is Verdict.NEXT

    def skip(self, skip: collector_pb2.Skip, now: float) -> int:
        """Return the first number of `skip` to be stored as skipped; 0 if nothing of it is new.

        Raises:
            Refused: SCHEMA_UNKNOWN, NUMBERS or GAP.
        """
        self._need_schema(b"")
        first = self._numbers.taken_seq + 1
        verdict = self._judge(skip.first_seq, skip.last_seq, now)
        if verdict is Verdict.STRADDLES:  # what is stored was not lost after all
            self._take(skip.last_seq, now)
        return first if verdict in (Verdict.NEXT, Verdict.STRADDLES) else 0

    def close(self, close: collector_pb2.Close, now: float) -> bool:
        """Take a Close; return whether it ends the stream, which it does not while numbers are missing.

        Raises:
            Refused: more is stored than the client states (NUMBERS), or it ignored resend_from (GAP).
        """
        whole = close.outcome != collector_pb2.CLOSE_OUTCOME_INCOMPLETE
        if whole and close.final_seq < self._numbers.taken_seq:
            raise Refused(
                "NUMBERS",
                f"final_seq is {close.final_seq:,}, and {self._numbers.taken_seq:,} is stored: not this producer",
            )
        if whole and close.final_seq > self._numbers.taken_seq:
            self._ask_again(now)
            return False
        self.closed = close
        return True

    def expired(self, now: float) -> bool:
        """Return whether the client has been silent for too long."""
        return now - self._heard > self._limits.dead_s

    # --- what is owed to it -------------------------------------------------------------------------------------------

    def settled(self, now: float) -> None:
        """Count the batches that have become durable meanwhile."""
        done = 0
        while done < len(self._unacked) and self._unacked[done] <= self._numbers.durable_seq:
            done += 1
        del self._unacked[:done]
        self._countable += done
        if done:
            self._touch(now)

    def throttle(self, seconds: float, now: float) -> None:
        """Have the client wait before its next batch."""
        self._throttle_ms = max(self._throttle_ms, int(min(seconds, _LONGEST_WAIT_S) * 1000))
        self._touch(now)

    @property
    def in_flight(self) -> int:
        """Batches taken and not yet known as durable."""
        return len(self._unacked)

    @property
    def done(self) -> bool:
        """Whether everything that was taken is durable."""
        return self._numbers.durable_seq >= self._numbers.taken_seq

    def ack_due(self, now: float) -> bool:
        """Return whether an ack is due: after 8 frames or 50 ms, and at once where numbers are missing."""
        if self._dirty_since is None:
            return False
        late = now - self._dirty_since >= self._limits.ack_s
        return late or self._countable >= self._limits.ack_frames or bool(self._resend_from)

    @property
    def owes(self) -> bool:
        """Whether an ack will be due some time."""
        return self._dirty_since is not None

    def take_ack(self) -> collector_pb2.Ack:
        """Return the ack as of now; nothing is owed after it."""
        ack = collector_pb2.Ack(
            durable_seq=self._numbers.durable_seq,
            accepted_seq=self._numbers.taken_seq,
            duplicates=self.duplicates,
            resend_from=self._resend_from,
            throttle_ms=self._throttle_ms,
        )
        self._countable = self._throttle_ms = self._resend_from = 0
        self._dirty_since = None
        return ack

    # --- numbers ------------------------------------------------------------------------------------------------------

    def _need_schema(self, fingerprint: bytes) -> None:
        if not self._fingerprint or (fingerprint and fingerprint != self._fingerprint):
            named = f"fingerprint {fingerprint.hex()[:16]}…" if fingerprint else "a message without fingerprint"
            raise Refused("SCHEMA_UNKNOWN", f"{named} came before the Schema that explains it")

    def _judge(self, first_seq: int, last_seq: int, now: float) -> Verdict:
        verdict = self._numbers.judge(first_seq, last_seq)
        if verdict is Verdict.INVALID:
            raise Refused("NUMBERS", f"{first_seq:,} to {last_seq:,} is no range of numbers")
        if verdict is Verdict.NEXT:
            self._take(last_seq, now)
        elif verdict is Verdict.DUPLICATE:
            self.duplicates += 1
            self._touch(now)
        elif verdict is Verdict.GAP:
            self._ask_again(now)
        return verdict

    def _take(self, last_seq: int, now: float) -> None:
        self._numbers.take(last_seq)
        self._ignored = 0
        self._unacked.append(last_seq)
        self._touch(now)

    def _ask_again(self, now: float) -> None:
        """Have the client go back; what it had sent before it read that is passed over."""
        expected = self._numbers.taken_seq + 1
        if not self._ignored:
            self._resend_from = expected
            self._touch(now)
        self._ignored += 1
        if self._ignored > self._limits.window_frames + 1:
            raise Refused(
                "GAP",
                f"number {expected:,} did not come though it was asked for; send a new Hello",
                expected_seq=expected,
            )

    def _touch(self, now: float) -> None:
        if self._dirty_since is None:
            self._dirty_since = now
