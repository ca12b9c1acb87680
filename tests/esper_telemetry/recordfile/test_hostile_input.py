"""Cut everywhere, changed everywhere: no event that was not written, no exception that is not ours.

`make test` runs a short version, `make test-slow` a longer one. ESPER_MUTATIONS=100000 makes that a long one, and
ESPER_SEED varies both.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import struct
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
import zstandard

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import RecordReader, RecordWriter, layout, recover, verify
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import Keep
from esper_telemetry.recordfile.salvage import salvage
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.schema import Batch, frame_event
from esper_telemetry.v1 import training_pb2
from tests.esper_telemetry.recordfile.by_column import rewrite_by_column

MUTATIONS = int(os.environ.get("ESPER_MUTATIONS", "1500"))
SEED = int(os.environ.get("ESPER_SEED", "20261122"))


class RememberingDecoder(FrameDecoder):
    """Decodes equal bytes once: thousands of cuts of one file share most of their frames."""

    def __init__(self) -> None:
        super().__init__()
        self._remembered = cache(super().decode)

    def decode(self, frame: bytes, raw_size: int) -> bytes:
        return self._remembered(frame, raw_size)


def noisy_batch(records, first: int, count: int) -> Batch:
    """Return events that do not compress, so that few of them fill a file."""
    rng = random.Random(first)
    names = [rng.randbytes(120).hex() for _ in range(count)]
    payloads = [training_pb2.ScalarLogged(name=name, value=rng.random()).SerializeToString() for name in names]
    times = [records.start + first + at for at in range(count)]
    events = [frame_event(records.scalar, time, first + at, b"", payloads[at]) for at, time in enumerate(times)]
    return Batch(events, [records.scalar] * count, first, first + count - 1, times[0], times[-1])


@pytest.mark.slow
def test_every_length_of_a_large_record_recovers_exactly_the_whole_frames_before_the_cut(records):
    writer = RecordWriter(records.path(), records.header(), [])
    for number in range(12):
        writer.write(noisy_batch(records, number * 40 + 1, 40))
    writer.close()
    data = writer.path.read_bytes()
    assert len(data) >= 70_000
    whole = RecordReader(data)
    frames = list(whole.frames())
    original = {event.seq: event.SerializeToString() for event in whole.events()}
    (header, desc) = whole.segments[0].headers[0]
    decoder = RememberingDecoder()
    checked = set()
    for cut in range(header + desc.compressed_size, len(data)):
        source = BytesSource(data[:cut])
        committed = sum(frame.end <= cut for frame in frames)
        complete = sum(frame.offset + frame.compressed_size <= cut for frame in frames)
        keep = Keep(source, decoder)
        keep.add_all(salvage(source, decoder, walk(source)))
        kept = [item.frame for context in keep.contexts for item in context.ordered() if item.frame is not None]
        verified = [frame for frame in kept if frame.mark is None]
        assert [frame.desc for frame in verified] == [frame.descriptor for frame in frames[:complete]], cut
        if cut >= header + desc.compressed_size + layout.DESCRIPTOR_BYTES:
            reader = RecordReader(source)
            assert list(reader.frames()) == frames[:committed], cut
            assert reader.damage == []
        unverified = sum(frame.desc.records for frame in kept if frame.mark is not None)
        if unverified not in checked:  # the whole way through a file, once for each outcome
            checked.add(unverified)
            output = records.path()
            result = recover(source, output)
            read = {event.seq: event.SerializeToString() for event in RecordReader(output).events()}
            assert len(read) == complete * 40 + unverified == result.events
            assert read.items() <= original.items()
    assert len(checked) > 1


def forge(rng: random.Random, data: bytearray) -> None:
    """Change a length, size, count or number of some descriptor and make its checksum right again."""
    places = [found.start() for found in re.finditer(re.escape(layout.DESCRIPTOR_START), data)]
    if not places:
        return
    at = rng.choice(places)
    desc = layout.descriptor_at(bytes(data), at)
    if desc is None:
        return
    name = rng.choice(desc._fields)
    limit = 1 << (32 if name in {"compressed_size", "raw_size", "records", "type_mask"} else 64)
    value = rng.choice((0, 1, getattr(desc, name) + 1, rng.randrange(limit), limit - 1)) % limit
    data[at : at + layout.DESCRIPTOR_BYTES] = layout.pack_descriptor(desc._replace(**{name: value}))


def lengths(rng: random.Random, data: bytearray) -> None:
    """Overwrite four bytes with a number that could be a length."""
    at = rng.randrange(len(data))
    data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 0xFFFFFFFF, 1 << 31, rng.randrange(1 << 24))))


def mutate(rng: random.Random, data: bytes, frames: list) -> bytes:  # noqa: C901 - one branch per kind of change
    """Return `data` with a few random changes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed))
        count = rng.choice((1, 2, 8, 64, 300, 2000))
        kind = rng.randrange(9)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + count] = bytes(len(changed[at : at + count]))
        elif kind == 2 and len(changed) > count:
            del changed[at : at + count]
        elif kind == 3:
            changed[at:at] = rng.randbytes(count)
        elif kind == 4:
            changed[at:at] = changed[at : at + count]
        elif kind == 5:
            other = rng.randrange(len(changed))
            piece = changed[other : other + count]
            changed[at : at + len(piece)] = piece
        elif kind == 6:
            one, two = rng.choice(frames), rng.choice(frames)
            first, second = changed[one.offset : one.end], changed[two.offset : two.end]
            changed[one.offset : one.end] = second
            if len(first) == len(second):
                changed[two.offset : two.end] = first
        elif kind == 7:
            forge(rng, changed)
        else:
            lengths(rng, changed)
    return bytes(changed)


# Blocks are made into events and back: that takes three times as long.
@pytest.mark.parametrize(
    ("by_column", "mutations"),
    [
        pytest.param(False, MUTATIONS // 5, id="events"),
        pytest.param(True, MUTATIONS // 15, id="blocks"),
        pytest.param(False, MUTATIONS, id="many of events", marks=pytest.mark.slow),
        pytest.param(True, MUTATIONS // 3, id="many of blocks", marks=pytest.mark.slow),
    ],
)
def test_no_mutation_makes_an_event_that_was_not_written_or_an_exception_that_is_not_ours(
    records, small_types, monkeypatch, by_column, mutations
):
    # Forcing thousands of small files to the disk takes most of the time and shows nothing here.
    monkeypatch.setattr("esper_telemetry.recordfile.append._sync_data", lambda fd: None)
    data = records.bytes(frames=24, per_frame=8, types=small_types)
    if by_column:
        plain = records.path()
        plain.write_bytes(data)
        data = rewrite_by_column(plain, records.path()).read_bytes()
    whole = RecordReader(data)
    frames = list(whole.frames())
    original = {event.seq: event.SerializeToString() for event in whole.events()}
    rng = random.Random(SEED)
    output, again = records.path(), records.path()
    outcomes = {"good": 0, "read": 0, "recovered": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(mutations):
        # Half of the changes fall behind the header, which is most of so small a file.
        mutated = mutate(rng, data, frames)
        if number % 2:
            start = frames[0].offset
            mutated = data[:start] + mutate(rng, data, frames)[start:]
        with contextlib.suppress(RecordError):
            for event in RecordReader(mutated).events(on_damage=lambda _: None):
                assert original.get(event.seq) == event.SerializeToString(), number
            outcomes["read"] += 1
        with contextlib.suppress(RecordError):
            outcomes["good"] += verify(mutated).good
        try:
            result = recover(mutated, output)
        except RecordError:
            continue
        outcomes["recovered"] += 1
        recovered = []
        for event in RecordReader(output).events():
            assert original.get(event.seq) == event.SerializeToString(), number
            recovered.append(event.seq)
        if result.complete and mutated.startswith(data[: frames[0].offset]):
            assert recovered == list(original), number
        second = recover(output, again)
        assert second.complete, number
        assert again.read_bytes() == output.read_bytes(), number
        output.unlink()
        again.unlink()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert outcomes["recovered"] > mutations / 3
    assert grown < 200 * 1024, f"{grown} KiB"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a program is read from /proc")
@pytest.mark.parametrize("claimed", [1 << 30, 4096], ids=["honest descriptor", "lying descriptor"])
def test_a_bomb_of_a_gibibyte_in_a_record_is_refused_by_every_reader_in_little_memory(records, claimed):
    path = records.path()
    data = records.bytes(frames=1, per_frame=10, close=False)
    compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=1 << 30)
    bomb = b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(1 << 10)), compressor.flush()])
    assert len(bomb) < 64 * 1024
    desc = layout.Descriptor(len(bomb), claimed, 100, 1, 11, 110, records.start, records.start)
    path.write_bytes(data + bomb + layout.pack_descriptor(desc))
    code = """
        import re, sys
        from esper_telemetry.errors import CorruptRecordError
        from esper_telemetry.recordfile import RecordReader, follow, recover, verify
        good, bad, output = sys.argv[1:]
        def peak():  # of this program: ru_maxrss would be the test's, if that is larger
            return int(re.search(r"VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1])
        list(RecordReader(good).events()), verify(good), list(follow(good)), recover(good, output + "1")
        before = peak()
        damage = []
        assert len(list(RecordReader(bad).events(on_damage=damage.append))) == 10
        assert (damage[0].first_seq, damage[0].last_seq) == (11, 110), damage
        assert not verify(bad).good
        assert sum(len(found.events) for found in follow(bad, sleep=lambda _: None)) == 10
        assert recover(bad, output + "2").lost == [(0, 11, 110)]
        print(peak() - before)
    """
    good = records.write(frames=1, per_frame=10)
    command = [sys.executable, "-c", textwrap.dedent(code), good, path, records.path()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 10 * 1024  # KiB
