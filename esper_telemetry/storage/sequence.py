"""The sequence numbers of one producer: what is durable, what is on its way, which stream writes. Pure.

One object in a process owns the numbers of a producer. The lane of the engine carries it, and the session, the
sequencer and the files of the producer share it. Outside the process the files themselves keep the durable number, and
the bucket of a message log.
"""

from __future__ import annotations

import enum

# Above it, the next number would not fit into a field.
_LAST_NUMBER = (1 << 63) - 1


class Verdict(enum.Enum):
    """How a range of sequence numbers relates to what was taken before."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    GAP = "gap"
    STRADDLES = "straddles"
    INVALID = "invalid"


class SequenceNumbers:
    """The numbers of one producer.

    The part that syncs writes `durable_seq`: the writer thread for files, the event loop for a message log. Everything
    else belongs to the event loop. A number is durable before it is written here, so a reader in another thread sees an
    older value at worst.

    Args:
        durable_seq: what was found on disk.

    Attributes:
        durable_seq: everything up to it is durable.
        taken_seq: everything up to it is stored or on its way to the disk.
        epoch: highest session epoch seen.
    """

    def __init__(self, durable_seq: int = 0) -> None:
        self.durable_seq = self.taken_seq = durable_seq
        self.epoch = 0

    def judge(self, first_seq: int, last_seq: int) -> Verdict:
        """Return how the range relates to what was taken; nothing changes."""
        if not 0 < first_seq <= last_seq <= _LAST_NUMBER:
            return Verdict.INVALID
        if last_seq <= self.taken_seq:
            return Verdict.DUPLICATE
        if first_seq > self.taken_seq + 1:
            return Verdict.GAP
        return Verdict.NEXT if first_seq == self.taken_seq + 1 else Verdict.STRADDLES

    def take(self, last_seq: int) -> None:
        """Record that everything up to `last_seq` is on its way to the disk."""
        self.taken_seq = last_seq

    def settle(self, durable_seq: int) -> None:
        """Record that everything up to `durable_seq` is durable."""
        self.durable_seq = max(self.durable_seq, durable_seq)
        self.taken_seq = max(self.taken_seq, self.durable_seq)

    def rewind(self) -> None:
        """Record that what was on its way did not arrive: it will be sent again."""
        self.taken_seq = self.durable_seq

    def restart(self, durable_seq: int) -> None:
        """Begin anew behind `durable_seq`; nothing may be on its way."""
        self.durable_seq = self.taken_seq = durable_seq
