"""What is committed is what the pinned generator writes, byte for byte; a difference is found and named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".protoc"  # the generator is fetched once


def gen_proto(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "gen_proto.py"), "--cache", str(CACHE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of what the generator reads and writes."""
    for folder in ("proto", "esper_telemetry/v1", "esper/v1"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").mkdir()
    shutil.copyfile(ROOT / "tools/gen_proto.py", tmp_path / "tools/gen_proto.py")
    return tmp_path


def test_the_committed_code_is_what_the_generator_writes():
    finished = gen_proto(ROOT, "--check")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "files match proto/" in finished.stdout


@pytest.mark.parametrize("name", ["esper/v1/seed_pb2.py", "esper_telemetry/v1/run_pb2.pyi", "esper/v1/schema.binpb"])
def test_one_byte_of_difference_is_found_and_mended(checkout, name):
    path = checkout / name
    committed = path.read_bytes()
    path.write_bytes(committed + b"\n")
    finished = gen_proto(checkout, "--check")
    assert finished.returncode == 1
    assert finished.stdout.split("\n")[0] == f"stale: {name} (run `make proto`)"
    assert path.read_bytes() == committed + b"\n", "a check changes nothing"
    assert gen_proto(checkout).returncode == 0
    assert path.read_bytes() == committed


def test_a_generated_file_without_its_proto_is_found_and_removed(checkout):
    (checkout / "esper/v1/gone_pb2.py").write_text("# left over\n")
    (checkout / "esper/v1/seed_pb2.py").unlink()
    assert gen_proto(checkout, "--check").stdout.split("\n")[:2] == [
        "stale: esper/v1/gone_pb2.py (run `make proto`)",
        "stale: esper/v1/seed_pb2.py (run `make proto`)",
    ]
    assert gen_proto(checkout).returncode == 0
    assert not (checkout / "esper/v1/gone_pb2.py").exists()
    assert gen_proto(checkout, "--check").returncode == 0


def test_a_change_of_a_comment_reaches_the_descriptors(checkout):
    proto = checkout / "proto/esper/v1/seed.proto"
    proto.write_text(proto.read_text().replace("// A seed was discarded.", "// A seed was thrown away."))
    assert "stale: esper/v1/schema.binpb" in gen_proto(checkout, "--check").stdout


def test_the_descriptors_hold_comments_and_no_line_numbers():
    files = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "esper/v1/schema.binpb").read_bytes()).file
    places = [place for file in files for place in file.source_code_info.location]
    assert any("A seed was discarded." in place.leading_comments for place in places)
    assert all(place.leading_comments and not place.span for place in places)
