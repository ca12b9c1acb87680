"""One producer's entries in the order of its sequence numbers, whatever order the log delivers them in. Pure.

Duplicates and entries of fenced streams are dropped, an entry behind a gap is held back, the next one is ready. A frame
is ready only when its schema is known. What is held is bounded: beyond the bound an entry is refused, and its gateway
publishes it again, because no watermark covers it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.jetstream.deployment import WINDOW_FRAMES
from esper_telemetry.jetstream.entries import Open
from esper_telemetry.storage.engine import PutFrame, PutSchema, Seal
from esper_telemetry.storage.sequence import SequenceNumbers, Verdict

if TYPE_CHECKING:
    from esper_telemetry.jetstream.entries import ArrivedEntry, SessionId
    from esper_telemetry.jetstream.messages import Receipt

# A gateway has at most two windows of one producer on their way.
WINDOW = 2 * WINDOW_FRAMES


class Offered(NamedTuple):
    """An entry and the token of the message that brought it.

    Attributes:
        arrival: the entry.
        token: receipt of that message.
    """

    arrival: ArrivedEntry
    token: Receipt


class Step(NamedTuple):
    """What follows from an entry.

    Attributes:
        ready: entries to be stored now, in order.
        useless: receipts of entries that need not come again.
    """

    ready: list[Offered]
    useless: list[Receipt]


class Sequencer:
    """The order of one producer's entries.

    Args:
        numbers: of the producer.
        session: the stream that writes.
        window: entries that may be held back.

    Attributes:
        numbers: as given; what was found ready counts as taken.
        session: the stream that writes.
        known: fingerprints of the schemas that are known.
        counts: entries by what became of them: ready, duplicate, fenced, held, overflow, broken.
    """

    def __init__(self, numbers: SequenceNumbers, session: SessionId, window: int = WINDOW) -> None:
        self.numbers = numbers
        self.session = session
        self.known: set[bytes] = set()
        self.counts: Counter[str] = Counter()
        self._window = window
        self._held: dict[int, Offered] = {}
        self._seal: Offered | None = None

    @property
    def held(self) -> tuple[int, int]:
        """Entries that are held back, and their payload bytes."""
        contents = [held.arrival.content for held in self._held.values()]
        return len(contents), sum(len(each.payload) for each in contents if isinstance(each, PutFrame))

    def offer(self, arrival: ArrivedEntry, token: Receipt) -> Step:
        """Take an entry."""
        useless: list[Receipt] = []
        if arrival.session.epoch > self.session.epoch:
            self.session = arrival.session
            useless += self.release()
        if arrival.session != self.session:
            self.counts["fenced"] += 1
            return Step([], [*useless, token])
        content = arrival.content
        if isinstance(content, Open):
            return Step([], [*useless, token])
        if isinstance(content, PutSchema):
            self.known.add(arrival.fingerprint)
            ready, more = self._advance()
            return Step(ready, [*useless, *more, token])
        if isinstance(content, Seal):
            useless += [self._seal.token] if self._seal else []
            self._seal = Offered(arrival, token)
        else:
            useless += self._place(Offered(arrival, token))
        ready, more = self._advance()
        return Step(ready, useless + more)

    def release(self) -> list[Receipt]:
        """Forget what is held back; return its tokens."""
        tokens = [held.token for held in self._held.values()] + ([self._seal.token] if self._seal else [])
        self._held.clear()
        self._seal = None
        return tokens

    def rewind(self) -> None:
        """Record that what was found ready and is not durable was lost on its way; all of it comes again."""
        self.release()
        self.numbers.rewind()

    def _place(self, offered: Offered) -> list[Receipt]:
        """Hold an entry back, if it is of use; return the tokens of those that are not."""
        arrival = offered.arrival
        verdict = self.numbers.judge(arrival.first_seq, arrival.last_seq)
        if verdict in (Verdict.DUPLICATE, Verdict.STRADDLES, Verdict.INVALID):
            self.counts["duplicate" if verdict is Verdict.DUPLICATE else "broken"] += 1
            return [offered.token]
        before = self._held.get(arrival.first_seq)
        if before is None and len(self._held) >= self._window and verdict is not Verdict.NEXT:
            self.counts["overflow"] += 1
            return [offered.token]
        if verdict is Verdict.GAP and before is None:
            self.counts["held"] += 1
        self._held[arrival.first_seq] = offered
        return [before.token] if before is not None else []

    def _advance(self) -> tuple[list[Offered], list[Receipt]]:
        ready: list[Offered] = []
        while (offered := self._held.get(self.numbers.taken_seq + 1)) is not None and self._explained(offered.arrival):
            del self._held[self.numbers.taken_seq + 1]
            self.numbers.take(offered.arrival.last_seq)
            ready.append(offered)
        self.counts["ready"] += len(ready)
        if self._seal is not None and self._seal.arrival.last_seq <= self.numbers.taken_seq:
            if self._seal.arrival.last_seq == self.numbers.taken_seq:
                ready.append(self._seal)
                self._seal = None
            else:
                seal, self._seal = self._seal, None
                return ready, [seal.token]
        stale = [first for first in self._held if first <= self.numbers.taken_seq]
        return ready, [self._held.pop(first).token for first in stale]

    def _explained(self, arrival: ArrivedEntry) -> bool:
        """Return whether the schema that an entry needs is known; a skip needs any."""
        return arrival.fingerprint in self.known if arrival.fingerprint else bool(self.known)
