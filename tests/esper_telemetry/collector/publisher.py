"""Producers and streams to test a collector with: real frames by the real writer, sent by hand."""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import grpc

from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter
from esper_telemetry.schema import Batch, event_type, frame_event
from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc, training_pb2
from esper_telemetry.wire import REFUSAL_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START = 1_760_000_000_000_000_000
TYPES = [(1, event_type(training_pb2.ScalarLogged))]
RUN_ID = "20261122T223328Z-test-1f3a9c"


def element(seq: int) -> bytes:
    """Return one event that depends on its number only."""
    payload = training_pb2.ScalarLogged(name="n", value=(seq * 2654435761 % 1000003) / 7, step=seq)
    return frame_event(1, START + seq, seq, b"", payload.SerializeToString())


def make_batch(first: int, count: int) -> Batch:
    events = [element(seq) for seq in range(first, first + count)]
    last = first + count - 1
    return Batch(events, [1] * count, first, last, START + first, START + last)


class Produced:
    """What one producer has to send.

    Attributes:
        run_id, producer_id: its identity.
        schema: its Schema.
        batches: its frames as messages, in order.
    """

    def __init__(
        self, frames: int = 4, per_frame: int = 25, *, run_id: str = RUN_ID, producer_id: bytes = b"", **header
    ) -> None:
        self.run_id = run_id
        self.producer_id = producer_id or os.urandom(16)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.esr.zst"
            header = {"anchor_unix_nano": START, **header}
            known = HeaderInfo(run_id=run_id, producer_id=self.producer_id, **header)
            writer = RecordWriter(path, known, TYPES)
            for number in range(frames):
                writer.write(make_batch(1 + number * per_frame, per_frame))
            writer.close()
            with RecordReader(path) as reader:
                merged = merged_header(reader.header, reader.descriptor_sets)
                self.raw = [reader.read_raw(ref) for ref in reader.frames()]
                self.refs = list(reader.frames())
        self.schema = collector_pb2.Schema(fingerprint=schema_fingerprint(merged), header=merged)
        self.batches = [batch_message(ref, raw) for ref, raw in zip(self.refs, self.raw, strict=True)]

    @property
    def last_seq(self) -> int:
        return self.refs[-1].last_seq

    def hello(self, epoch: int = 1, **changes) -> collector_pb2.Hello:
        said = {
            "min_protocol": 1,
            "max_protocol": 1,
            "run_id": self.run_id,
            "producer_id": self.producer_id,
            "session_epoch": epoch,
            "schema_fingerprint": self.schema.fingerprint,
            "codecs": [collector_pb2.CODEC_ZSTD],
        }
        return collector_pb2.Hello(**{**said, **changes})

    def close(self, outcome=collector_pb2.CLOSE_OUTCOME_FINISHED) -> collector_pb2.Close:
        return collector_pb2.Close(final_seq=self.last_seq, outcome=outcome)


def batch_message(ref, raw: bytes, **changes) -> collector_pb2.Batch:
    """Return the Batch for a frame with its descriptor."""
    said = {
        "first_seq": ref.first_seq,
        "last_seq": ref.last_seq,
        "count": ref.records,
        "raw_len": ref.raw_size,
        "crc32": crc32(raw),
        "codec": collector_pb2.CODEC_ZSTD,
        "payload": raw,
    }
    return collector_pb2.Batch(**{**said, **changes})


def client_message(content) -> collector_pb2.ClientMessage:
    """Wrap a Hello, Batch, ... as what travels."""
    kind = type(content).__name__.lower()
    return collector_pb2.ClientMessage(**{kind: content})


class Publication:
    """One Publish stream, driven by hand.

    Attributes:
        call: the gRPC call.
    """

    def __init__(self, stub: collector_pb2_grpc.CollectorStub, metadata=()) -> None:
        self._sent: queue.Queue = queue.Queue()
        self.call = stub.Publish(iter(self._sent.get, None), metadata=metadata, timeout=60)

    def send(self, *contents) -> Publication:
        for content in contents:
            raw = isinstance(content, collector_pb2.ClientMessage)
            self._sent.put(content if raw else client_message(content))
        return self

    def end(self) -> Publication:
        """Half-close."""
        self._sent.put(None)
        return self

    def receive(self, kind: str):
        """Return the next message of a kind; others are passed over."""
        for message in self.call:
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)
        raise AssertionError(f"the stream ended without {kind}")

    def acked(self, durable_seq: int) -> collector_pb2.Ack:
        """Return the first ack that reaches a number."""
        while True:
            ack = self.receive("ack")
            if ack.durable_seq >= durable_seq:
                return ack

    def messages(self) -> list:
        """Return everything to the end of the stream, which must be a good one."""
        return list(self.call)

    def refusal(self) -> tuple[grpc.StatusCode, str]:
        """Return status and reason of a stream that must end with an error."""
        try:
            list(self.call)
        except grpc.RpcError as error:
            return refusal_of(error)
        raise AssertionError("the stream ended well")

    def cancel(self) -> None:
        self.call.cancel()
        self.end()


def refusal_of(error) -> tuple[grpc.StatusCode, str]:
    """Return status and reason of a failed call; the reason is empty where gRPC itself refused."""
    carried = dict(error.trailing_metadata() or ()).get(REFUSAL_KEY)
    if carried is None:
        return error.code(), ""
    reason = collector_pb2.Refusal.FromString(carried).reason
    return error.code(), collector_pb2.RefusalReason.Name(reason).removeprefix("REFUSAL_REASON_")


@contextlib.contextmanager
def open_stub(port: int, credentials=None) -> Iterator[collector_pb2_grpc.CollectorStub]:
    """A stub on a channel of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    address = f"localhost:{port}" if credentials else f"127.0.0.1:{port}"
    channel = (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
    with channel:
        yield collector_pb2_grpc.CollectorStub(channel)


def publish(stub, produced: Produced, epoch: int = 1, *, frames: Iterable | None = None, metadata=()) -> list:
    """Send everything of a producer in one stream; return the answers."""
    stream = Publication(stub, metadata).send(produced.hello(epoch), produced.schema)
    stream.send(*(produced.batches if frames is None else frames))
    if frames is None:
        stream.send(produced.close())
    return stream.end().messages()


def stored(root: Path, produced: Produced) -> list[bytes]:
    """Return the frames with descriptors that a collector's folder holds of a producer, in order of their numbers."""
    found = []
    for path in sorted(root.glob("*/*.esr.zst")):
        with RecordReader(path) as reader:
            if reader.header.producer_id == produced.producer_id and reader.header.run_id == produced.run_id:
                assert not reader.damage, (path, reader.damage)
                found += [(ref.first_seq, reader.read_raw(ref)) for ref in reader.frames()]
    numbers = [first for first, _ in found]
    assert len(numbers) == len(set(numbers)), "a frame is stored twice"
    return [raw for _, raw in sorted(found)]
