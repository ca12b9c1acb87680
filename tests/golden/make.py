"""Writes the golden record of a format version anew, which is done before its release and never after it.

    python tests/golden/make.py FOLDER

The same events always; zstd decides the bytes. Beside the record come its lines, by the one-file decoder.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry import events
from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, Skip, layout
from esper_telemetry.recordfile.facts import frame_facts
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import find_pieces
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.schema import Batch, event_type
from esper_telemetry.schema.frame_builder import EventRows, build_frame
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

DECODER = Path(__file__).parents[2] / "tools" / "decode_records.py"
BEFORE, START, STEP = 100, 1_763_850_808_224_457_092, 1_000_003  # nanoseconds
SKIP = Skip(124, 127, 2)
Made = tuple[int, "type[Message]", dict[str, Any], dict[str, Any]]

_VALUES = [1.5, 0.0, -2.25, math.nan, math.inf, -math.inf, 1e300, 0.1]
_CPU = {"device": "cpu", "global_epoch": 7}
_BATCH = {"batch_idx": 3, "episodes_completed": 12}
_RUN = {"name": "golden", "run_id": "20251122T223328Z-golden-1f3a9c"}
_DROPS = [{"full_name": "esper_telemetry.v1.ScalarLogged", "cause": "DROP_CAUSE_BUFFER_FULL", "count": 3}]

# 110 to 112 and 119 were dropped. Types lie between each other, so a reader has to restore the order.
FRAMES: list[list[Made]] = [
    [
        (101, events.RunStarted, {}, {**_RUN, "tags": {"a": "b"}, "config_json": '{"lr":0.0003}'}),
        *(
            (
                102 + place,
                events.ScalarLogged,
                {"env_id": place % 3, "device": "cuda:0"},
                {"name": "train/loss" if place % 2 else "größe", "value": value, "step": place},
            )
            for place, value in enumerate(_VALUES)
        ),
        (113, events.PhaseTimed, {"env_id": 0, "step": 0}, {"phase": "train", "duration_ms": 12.5, "failed": False}),
        (
            114,
            events.EpochCompleted,
            {**_CPU, "env_id": 0, "inner_epoch": 1},
            {"train_loss": 0.0, "val_accuracy": 99.5},
        ),
        (115, events.PhaseTimed, {"env_id": 0, "step": 5}, {"phase": "validate", "duration_ms": 0.1, "failed": True}),
        (116, events.EpochCompleted, {**_CPU, "env_id": 1, "inner_epoch": 2}, {}),
        (117, events.PhaseTimed, {"env_id": 0, "step": 2}, {"phase": "train", "duration_ms": -0.0, "failed": False}),
        (
            118,
            events.EpochCompleted,
            {**_CPU, "env_id": 2, "inner_epoch": 1},
            {"train_loss": 0.5, "val_accuracy": 99.5},
        ),
    ],
    [
        *(
            (seq, events.ActionDistribution, _BATCH, {"head": "op", "action_counts": {"wait": seq}})
            for seq in (120, 121)
        ),
        (122, events.ActionDistribution, _BATCH, {"head": "slot", "action_counts": {"b": 0, "a": 7}}),
        (123, events.DropReport, {}, {"drops": _DROPS, "total_dropped": 3, "total_offered": 16}),
    ],
    [
        (
            128,
            events.RunFinished,
            {},
            {
                "outcome": "RUN_OUTCOME_COMPLETED",
                "duration_s": 12.5,
                "results": {"val_accuracy": 99.5},
                "offered": 28,
                "dropped": 4,
            },
        )
    ],
]


def batch_of(made: list[Made], numbers: dict[type[Message], int], first_seq: int) -> Batch:
    """Return events as a batch, by column where columns hold them."""
    new: list[Any] = []
    rows = EventRows()
    counts: Counter[int] = Counter()
    times = [START + (seq - BEFORE - 1) * STEP for seq, *_ in made]
    for (seq, cls, context, fields), time in zip(made, times, strict=True):
        if cls not in numbers:
            numbers[cls] = len(numbers) + 1
            new.append((numbers[cls], event_type(cls)))
        message = cls(**fields)
        payload = message.SerializeToString(deterministic=True)
        rows.add(numbers[cls], seq, time, context_pb2.Context(**context), payload, message=message)
        counts[numbers[cls]] += 1
    built = build_frame(rows.groups())
    last = made[-1][0]
    return Batch.of_raw(
        built.raw,
        counts,
        (first_seq, last),
        (times[0], times[-1]),
        new_types=new,
        batch_range=built.batch_range,
        step_range=built.step_range,
    )


def write(path: Path) -> None:
    """Write the record."""
    header = HeaderInfo(
        run_id=_RUN["run_id"],
        producer_id=bytes(range(16)),
        rank=1,
        run_name="golden",
        file_id=bytes(range(16, 32)),
        segment=2,
        previous_file_id=bytes(range(32, 48)),
        previous_last_seq=BEFORE,
        anchor_unix_nano=START,
        anchor_monotonic_nano=5_000_000_000,
        host="golden-host",
        pid=4242,
        writer="esper-telemetry-python/0.1.0",
        attributes={"purpose": "golden file of format version 1"},
    )
    numbers: dict[type[Message], int] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.esr.zst"
        writer = RecordWriter(plain, header, [])
        first = BEFORE + 1
        for made in FRAMES:
            writer.write(batch_of(made, numbers, first))
            first = made[-1][0] + 1
        writer.close()
        with_skip(plain, path)


def with_skip(plain: Path, path: Path) -> None:
    """Copy a record and put the marker of lost sequence numbers before its last frame."""
    data = plain.read_bytes()
    pieces = find_pieces(FileSource(plain))
    frames = [piece for piece in pieces if piece.kind is Kind.DATA]
    with RecordReader(plain) as reader, RecordBuilder(path) as builder:
        refs = {ref.offset: ref for ref in reader.frames()}
        builder.start_segment(previous_last_seq=BEFORE)
        for piece in pieces:
            whole = data[piece.offset : piece.end]
            if piece.kind is Kind.HEADER and piece.descriptor is not None:
                builder.add_header(whole, piece.descriptor)
            elif piece.kind is Kind.PARITY:
                builder.add_skippable(whole)
            elif piece.kind is Kind.DATA and piece.descriptor is not None:
                ref = refs[piece.offset]
                desc = ref.descriptor
                if piece is frames[-1]:
                    builder.add_skip(SKIP)
                    desc = desc._replace(first_seq=SKIP.last_seq + 1)
                    whole = whole[: desc.compressed_size] + layout.pack_descriptor(desc)
                facts = frame_facts(reader.decompress(ref))
                builder.add_frame(whole, desc, facts.type_counts, facts.ranges)
        builder.finish_segment()


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    path = folder / "v1.esr.zst"
    path.unlink(missing_ok=True)
    write(path)
    lines = subprocess.run([sys.executable, DECODER, path], stdout=subprocess.PIPE, check=False).stdout
    (folder / "v1.jsonl").write_bytes(lines)


if __name__ == "__main__":
    main()
