"""Bounded fuzz of a real collector: conversations with one thing wrong, or several, and what must hold all the same."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, client_message

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = "/esper_telemetry.v1.Collector/"
# What the protocol has no word for; any of these is a fault.
UNPLANNED = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}
NUMBERS = [0, 1, 2, 3, 25, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**31), -(2**63)]
TEXTS = [
    "",
    ".",
    "..",
    "../../x",
    "/etc/passwd",
    "a/b",
    "\\0",
    "x" * 129,
    "\u202e",
    "\U0001f600",
    "run-0",
    "=2E",
    "==ab",
]
FRAMES, PER_FRAME = 40, 5


def mutate(message: Any, rng: random.Random) -> None:
    """Change one field of a message, or of one inside it, to something that its type allows."""
    field = rng.choice(message.DESCRIPTOR.fields)
    repeated, name = field.is_repeated, field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, name)[rng.choice(TEXTS)] = "v" * rng.choice([0, 10, 5000])
    elif repeated and rng.random() < 0.5:
        message.ClearField(name)
    elif field.message_type is not None:
        mutate(getattr(message, name).add() if repeated else getattr(message, name), rng)
    else:
        value = _value(field, rng)
        with contextlib.suppress(ValueError, TypeError, OverflowError):  # not every number fits
            if repeated:
                getattr(message, name).append(value)
            else:
                setattr(message, name, value)


def _value(field: Any, rng: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        return rng.choice(TEXTS)
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 15, 16, 17, 32, 1000]))
    return rng.choice(NUMBERS)


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, take some away or put some in."""
    spoiled = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(spoiled) + 1)
        spoiled[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
    return bytes(spoiled)


class Fuzz:
    """Conversations with one collector, by some producers that go on where they are.

    Args:
        collector: a running one.
        token: for every call.
        seed: of everything random.

    Attributes:
        statuses: how the calls ended.
        unplanned: what was said of calls that ended as none should.
        acked: highest number called durable, by run and producer.
    """

    def __init__(self, collector: Any, token: str, seed: int) -> None:
        self.statuses: Counter[grpc.StatusCode] = Counter()
        self.unplanned: set[str] = set()
        self.acked: dict[tuple[str, bytes], int] = {}
        self._rng = random.Random(seed)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{collector.port}", [("grpc.use_local_subchannel_pool", 1)])
        self._template = Produced(frames=FRAMES, per_frame=PER_FRAME)
        self._made = itertools.count()
        self._pool = [self._producer() for _ in range(24)]

    def close(self) -> None:
        self._channel.close()

    def converse(self) -> None:
        """Say one thing to the collector."""
        at = self._rng.randrange(len(self._pool))
        run_id, producer_id = self._pool[at]
        known = self._known(run_id, producer_id)
        if known.durable_seq >= FRAMES * PER_FRAME:
            self._pool[at] = self._producer()
        messages = list(self._messages(run_id, producer_id, known))
        if self._rng.random() < 0.25:
            self._ask(run_id)
        elif self._rng.random() < 0.3:
            self._push(messages)
        else:
            self._publish([self._bytes_of(message) for message in self._reordered(messages)])

    # --- what is said -------------------------------------------------------------------------------------------------

    def _producer(self) -> tuple[str, bytes]:
        return f"run-{next(self._made) % 6}", os.urandom(16)

    def _known(self, run_id: str, producer_id: bytes) -> collector_pb2.Welcome:
        request = collector_pb2.GetWatermarkRequest(run_id=run_id, producer_id=producer_id)
        answer = self._channel.unary_unary(SERVICE + "GetWatermark")(
            request.SerializeToString(), timeout=60, metadata=self._metadata
        )
        return collector_pb2.Welcome.FromString(answer)

    def _messages(self, run_id: str, producer_id: bytes, known: collector_pb2.Welcome) -> Iterator[Any]:
        schema = collector_pb2.Schema()
        schema.CopyFrom(self._template.schema)
        schema.header.run_id, schema.header.producer_id = run_id, producer_id
        yield client_message(
            self._template.hello(known.session_epoch + 1, run_id=run_id, producer_id=producer_id, labels={"a": "b"})
        )
        yield client_message(schema)
        start = known.durable_seq // PER_FRAME
        for batch in self._template.batches[start : start + self._rng.randrange(4)]:
            yield client_message(batch)
        if self._rng.random() < 0.3:
            yield client_message(collector_pb2.Heartbeat())
        yield client_message(collector_pb2.Close(final_seq=known.durable_seq, outcome=self._rng.randrange(5)))

    def _reordered(self, messages: list[Any]) -> list[Any]:
        if self._rng.random() < 0.1:
            self._rng.shuffle(messages)
        if self._rng.random() < 0.1:
            messages.append(self._rng.choice(messages))
        return messages

    def _bytes_of(self, message: Any) -> bytes:
        if self._rng.random() < 0.3:
            inner = getattr(message, message.WhichOneof("message"))
            for _ in range(self._rng.randrange(1, 3)):
                mutate(inner, self._rng)
        data: bytes = message.SerializeToString()
        return spoil(data, self._rng) if self._rng.random() < 0.1 else data

    # --- calls --------------------------------------------------------------------------------------------------------

    def _publish(self, messages: list[bytes]) -> None:
        call = self._channel.stream_stream(SERVICE + "Publish")(iter(messages), timeout=60, metadata=self._metadata)
        key = _key_of(messages[0])
        with contextlib.suppress(grpc.RpcError):
            for data in call:
                answer = collector_pb2.ServerMessage.FromString(data)
                if answer.HasField("ack"):
                    self._believe(key, answer.ack.durable_seq)
        self._count(call)

    def _push(self, messages: list[Any]) -> None:
        request = collector_pb2.PushBatchRequest(hello=messages[0].hello)
        for message in messages[1:]:
            with contextlib.suppress(DecodeError):
                request.messages.add().ParseFromString(self._bytes_of(message))
        if self._rng.random() < 0.3:
            mutate(request.hello, self._rng)
        key = (request.hello.run_id, request.hello.producer_id)
        call = self._unary("PushBatch", request.SerializeToString())
        if call.code() is grpc.StatusCode.OK:
            self._believe(key, collector_pb2.Ack.FromString(call.result()).durable_seq)

    def _ask(self, run_id: str) -> None:
        name, request = self._rng.choice(
            [
                ("ListRuns", collector_pb2.ListRunsRequest(prefix="run")),
                ("GetWatermark", collector_pb2.GetWatermarkRequest(run_id=run_id, producer_id=os.urandom(16))),
                ("DeleteRun", collector_pb2.DeleteRunRequest(run_id=self._rng.choice(TEXTS[:-3]))),
                ("Subscribe", collector_pb2.SubscribeRequest(run_id=run_id, stored_only=True)),
            ]
        )
        if self._rng.random() < 0.5:
            mutate(request, self._rng)
        if name == "DeleteRun" and request.run_id.startswith("run-"):
            return  # acked frames may not go on request here: they are counted in the end
        if name == "Subscribe":
            request.stored_only = True
            call = self._channel.unary_stream(SERVICE + name)(
                request.SerializeToString(), timeout=60, metadata=self._metadata
            )
            with contextlib.suppress(grpc.RpcError):
                assert all(len(data) < 2 << 20 for data in call)
            self._count(call)
            return
        data = request.SerializeToString()
        self._unary(name, spoil(data, self._rng) if name != "DeleteRun" and self._rng.random() < 0.2 else data)

    def _unary(self, name: str, data: bytes) -> Any:
        call = self._channel.unary_unary(SERVICE + name).future(data, timeout=60, metadata=self._metadata)
        call.exception()  # waits
        self._count(call)
        return call

    def _count(self, call: Any) -> None:
        self.statuses[call.code()] += 1
        if call.code() in UNPLANNED:
            self.unplanned.add(f"{call.code().name}: {call.details()}")

    def _believe(self, key: tuple[str, bytes] | None, durable_seq: int) -> None:
        if key is not None and durable_seq:
            self.acked[key] = max(self.acked.get(key, 0), durable_seq)


def _key_of(hello: bytes) -> tuple[str, bytes] | None:
    with contextlib.suppress(DecodeError):
        found = collector_pb2.ClientMessage.FromString(hello).hello
        return found.run_id, found.producer_id
    return None


def readable(root: Path) -> dict[tuple[str, bytes], int]:
    """Return the last number of the unbroken row that a collector's folder holds, by run and producer."""
    rows: dict[tuple[str, bytes], list[tuple[int, int]]] = {}
    for path in root.glob("*/*.esr.zst"):
        with contextlib.suppress(RecordError), RecordReader(path) as reader:
            assert not reader.damage, (path, reader.damage)
            header, segment = reader.header, reader.segments[0]
            row = rows.setdefault((header.run_id, header.producer_id), [])
            row.append((header.previous_last_seq, segment.last_seq))
            for ref in reader.frames():
                reader.read_raw(ref)
    reached = {}
    for key, row in rows.items():
        last = 0
        for first, end in sorted(row):
            assert first == last, "segments follow each other"
            last = end
        reached[key] = last
    return reached


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
