"""Messages of the log: entries packed together, taken apart again, and answered for. Pure.

A replicated message costs the servers the same whatever it holds: three copies of its header, a proposal, an ack, a
delivery and a removal that are agreed upon. So a gateway packs what it has for a partition into one LogMessage, and a
consumer acks that when the last of its entries is settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.jetstream.varints import after_varint, varint
from esper_telemetry.schema.envelope import encode_varint

if TYPE_CHECKING:
    from collections.abc import Iterable

# A message is begun anew beyond this size. More makes nothing cheaper, and a lost one costs more.
MESSAGE_BYTES = 256 << 10

# Tag of LogMessage.entries, from log.proto: number << 3 | 2 (a length and so many bytes follow).
_ENTRY_TAG = b"\x0a"


class Packer:
    """Entries on their way into messages, by subject.

    Attributes:
        fullest: bytes of entries that wait for the subject that has most.
    """

    def __init__(self) -> None:
        self.fullest = 0
        self._waiting: dict[str, list[bytes]] = {}
        self._sizes: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return bool(self._waiting)

    def add(self, subject: str, entry: bytes) -> None:
        """Take a serialized LogEntry."""
        self._waiting.setdefault(subject, []).append(entry)
        size = self._sizes[subject] = self._sizes.get(subject, 0) + len(entry)
        self.fullest = max(self.fullest, size)

    def take(self) -> list[tuple[str, bytes]]:
        """Return everything as serialized LogMessages with their subjects, in the order of the entries; forget it."""
        taken = []
        for subject, entries in self._waiting.items():
            pieces: list[bytes] = []
            size = 0
            for entry in entries:
                if pieces and size + len(entry) > MESSAGE_BYTES:
                    taken.append((subject, b"".join(pieces)))
                    pieces, size = [], 0
                pieces += (_ENTRY_TAG, encode_varint(len(entry)), entry)
                size += len(entry)
            taken.append((subject, b"".join(pieces)))
        self.clear()
        return taken

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting, self._sizes, self.fullest = {}, {}, 0


def entries_of(data: bytes) -> list[memoryview]:
    """Return the serialized entries of a message, as views of it.

    Raises:
        CorruptRecordError: it is none.
    """
    view, at, end = memoryview(data), 0, len(data)
    found = []
    while at < end:
        start = after_varint(view, at + 1, end)
        behind = start + varint(view, at + 1, start)
        if view[at] != _ENTRY_TAG[0] or start == at + 1 or behind > end:
            raise CorruptRecordError(f"a message of {end:,} bytes is no LogMessage: byte {at:,} begins no entry")
        found.append(view[start:behind])
        at = behind
    if not found:
        raise CorruptRecordError("an empty message is no LogMessage")
    return found


class Receipt:
    """A message that was delivered, and how many of its entries are not settled.

    Args:
        reply: where its ack goes.
        entries: in it.
    """

    __slots__ = ("_open", "reply")

    def __init__(self, reply: str, entries: int) -> None:
        self.reply = reply
        self._open = entries

    def settle(self) -> bool:
        """Record that one more entry is settled; return whether that was the last."""
        self._open -= 1
        return self._open == 0


def settled(receipts: Iterable[Receipt]) -> list[str]:
    """Settle an entry for each time that its receipt occurs; return where acks are due."""
    return [receipt.reply for receipt in receipts if receipt.settle()]
