"""Files written once by a past version: today's readers must read them, ours and others'."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from esper_telemetry.recordfile import RecordReader, Skip, recover, verify
from esper_telemetry.schema import SchemaPool, proto_include

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
HASHES = {
    "v1.esr.zst": "aad3a43c3fc729be21fe5f1c652313f37893e6f07984cb7681293e0973743b12",
    "v1.jsonl": "a52a2dec91918dabe2363ca9b5f2bbabe93d55264a8c40abf6a47fdf47657f7f",
}
V1 = GOLDEN / "v1.esr.zst"
SEQS = [*range(101, 110), *range(113, 119), *range(120, 124), 128]


def test_no_golden_file_was_rewritten_and_none_is_missing():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in GOLDEN.iterdir()
        if path.suffix in {".zst", ".jsonl"}
    }
    assert found == HASHES


@pytest.mark.parametrize("cut", [0, 1, 200], ids=["whole", "cut footer", "cut index"])
def test_version_1_is_read_with_everything_it_says(cut):
    data = V1.read_bytes()
    reader = RecordReader(data[: len(data) - cut])
    assert reader.closed is not bool(cut)
    header = reader.header
    assert (header.format_major, header.format_minor) == (1, 0)
    assert (header.run_id, header.stream, header.rank, header.segment) == (
        "20251122T223328Z-golden-1f3a9c",
        "main",
        1,
        2,
    )
    assert header.file_id == bytes(range(16, 32))
    assert header.previous_last_seq == 100
    assert header.attributes == {"purpose": "golden file of format version 1"}
    assert sorted(reader.types) == [1, 2, 3, 4, 5, 6, 7]
    assert reader.segments[0].skips == [Skip(124, 127, 2)]
    assert [(frame.first_seq, frame.last_seq, frame.records) for frame in reader.frames()] == [
        (101, 118, 15),
        (119, 123, 4),
        (128, 128, 1),
    ]
    assert [event.seq for event in reader.events()] == SEQS
    assert reader.damage == []


def test_version_1_decodes_by_its_own_descriptors():
    reader = RecordReader(V1)
    pool = SchemaPool()
    for serialized in reader.descriptor_sets:
        pool.add(serialized)
    finished = list(reader.events())[-1]
    message = pool.message_class(reader.types[finished.type_id]).FromString(finished.payload)
    assert message.results["val_accuracy"] == 99.5
    assert message.dropped == 4


def test_version_1_verifies_and_recovers_to_itself(tmp_path):
    assert verify(V1).good
    assert recover(V1, tmp_path / "out.esr.zst").complete
    assert (tmp_path / "out.esr.zst").read_bytes() == V1.read_bytes()


def test_the_independent_reader_prints_the_same_events():
    command = [sys.executable, ROOT / "tools" / "decode_records.py", V1]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = [json.loads(line) for line in (GOLDEN / "v1.jsonl").read_text().splitlines()]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected
    assert [line["seq"] for line in expected] == SEQS


def test_zstd_and_protoc_read_it():
    if shutil.which("zstd") is None or shutil.which("protoc") is None:
        pytest.skip("needs zstd and protoc on PATH (packages zstd and protobuf-compiler)")
    subprocess.run(["zstd", "-tq", V1], check=True)
    raw = subprocess.run(["zstd", "-dcq", V1], check=True, capture_output=True).stdout
    decode = ["protoc", f"-I{proto_include()}", "--decode=esper_telemetry.v1.RecordFile"]
    text = subprocess.run(
        [*decode, "esper_telemetry/v1/record.proto"], input=raw, check=True, capture_output=True
    ).stdout
    single, blocks = text.decode().count("\nevent {"), text.decode().count("\nblock {")
    assert (single, blocks) == (6, 3)


def test_the_seek_table_is_read_by_its_reference():
    seekable = pytest.importorskip("pyzstd", reason="pyzstd is an optional peer of the tests").SeekableZstdFile
    with seekable(V1, "r") as file:
        assert len(file.read()) > 691
