"""What a recorder says of a producer in the bucket: how far it is durable, which stream writes, whose files go on.

The watermark and the owner stand in one value and change by compare-and-set, so they can never disagree: a
recorder that lost a producer to another one cannot move its watermark any more. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from esper_telemetry.collector.identity import ProducerKey
from esper_telemetry.collector.logentry import SessionId
from esper_telemetry.errors import CorruptRecordError

NOBODY = SessionId(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerState:
    """A producer as its recorder last said.

    Attributes:
        key: whose it is.
        durable_seq: everything up to it is fdatasynced in a recorder's files.
        session: the stream that writes.
        recorder: id of the recorder whose files go on; empty if none has any.
        generation: of that recorder's lease.
        segment: number of its last segment.
        file_id: of its last segment; empty before the first.
        handed_over: by recorder that had the producer before, the last number that counts in its files.
    """

    key: ProducerKey
    durable_seq: int = 0
    session: SessionId = NOBODY
    recorder: str = ""
    generation: int = 0
    segment: int = 0
    file_id: bytes = b""
    handed_over: dict[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return it as JSON, for people at an incident."""
        said = {
            "run_id": self.key.run_id,
            "producer_id": self.key.producer_id.hex(),
            "durable_seq": self.durable_seq,
            "session_epoch": self.session.epoch,
            "session_nonce": self.session.nonce,
            "recorder": self.recorder,
            "generation": self.generation,
            "segment": self.segment,
            "file_id": self.file_id.hex(),
            "handed_over": self.handed_over,
        }
        return json.dumps(said).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ProducerState:
        """Return what `to_bytes` was called on; fields that a newer recorder adds are passed over.

        Raises:
            CorruptRecordError: the bytes are something else.
        """
        try:
            said = json.loads(data)
            return cls(
                key=ProducerKey(said["run_id"], bytes.fromhex(said["producer_id"])),
                durable_seq=int(said["durable_seq"]),
                session=SessionId(int(said["session_epoch"]), int(said["session_nonce"])),
                recorder=str(said["recorder"]),
                generation=int(said["generation"]),
                segment=int(said["segment"]),
                file_id=bytes.fromhex(said["file_id"]),
                handed_over={str(name): int(seq) for name, seq in said["handed_over"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(f"{data[:200]!r} is no state of a producer: {error!r}") from None

    def taken_over(self, recorder: str, generation: int, durable_seq: int) -> ProducerState:
        """Return the state after `recorder` made the producer its own.

        Args:
            recorder: its id.
            generation: of its lease.
            durable_seq: last number in its own files; they count beyond the watermark where nobody wrote after it.
        """
        if self.recorder in ("", recorder):
            durable_seq = max(durable_seq, self.durable_seq)
            return replace(self, recorder=recorder, generation=generation, durable_seq=durable_seq)
        handed = {**self.handed_over, self.recorder: self.durable_seq}
        handed.pop(recorder, None)
        return replace(self, recorder=recorder, generation=generation, handed_over=handed)

    def limit_of(self, recorder: str) -> int | None:
        """Return the last number that counts in the files of `recorder`; None where all do."""
        return None if self.recorder in ("", recorder) else self.handed_over.get(recorder)
