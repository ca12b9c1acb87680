"""JSON lines of several streams, attempts and runs, and of two types with one short name: each names one event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import esper_telemetry
from esper_telemetry import events
from esper_telemetry.v1 import options_pb2

TOOL = Path(__file__).parents[3] / "tools" / "decode_records.py"


def scalar_of(run) -> None:
    run.emit(events.ScalarLogged, name="n", value=1.0)


def lines_of(cli, *arguments) -> list[dict]:
    """Return the lines of cat, which must be those of the one-file decoder."""
    finished = cli("cat", "--json", *arguments)
    assert finished.code == 0, finished.err
    tool = subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, check=False)
    assert finished.out == tool.stdout.decode()
    return [json.loads(line) for line in finished.lines]


def keys_of(lines) -> set[tuple[str, ...]]:
    return {tuple(line) for line in lines}


PLAIN = ("type", "seq", "time", "data")


def test_one_stream_needs_no_keys(cli, record_run):
    assert keys_of(lines_of(cli, record_run(scalar_of))) == {PLAIN}


def test_two_ranks_carry_their_rank(cli, record_run, tmp_path):
    for rank in (0, 1):
        folder = record_run(scalar_of, folder=tmp_path / "runs", run_id="both", rank=rank)
    lines = lines_of(cli, folder)
    assert keys_of(lines) == {("rank", *PLAIN)}
    assert len({(line["rank"], line["seq"]) for line in lines}) == len(lines)
    assert [line["seq"] for line in lines if line["rank"] == 1] == [1, 2, 3]


def test_two_runs_carry_their_run(cli, record_run, tmp_path):
    folders = [record_run(scalar_of, folder=tmp_path / name, run_id=name) for name in ("one", "two")]
    lines = lines_of(cli, *folders)
    assert keys_of(lines) == {("run", "rank", *PLAIN)}
    assert {line["run"] for line in lines} == {"one", "two"}
    text = cli("cat", *folders).lines
    assert {line.split("  ")[0] for line in text} == {"one", "two"}


def test_two_attempts_carry_their_attempt(cli, record_run, tmp_path):
    folder = record_run(scalar_of, folder=tmp_path / "runs", run_id="again")
    with esper_telemetry.start_run(tmp_path / "runs", name="test", resume="again") as run:
        scalar_of(run)
    lines = lines_of(cli, folder)
    assert keys_of(lines) == {("rank", "attempt", *PLAIN)}
    assert {line["attempt"] for line in lines} == {1, 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_children_that_are_alike_carry_stream_and_producer(cli, tmp_path):
    script = """
import os, sys
import esper_telemetry
from esper_telemetry import events
run = esper_telemetry.start_run(sys.argv[1], run_id="family", name="family")
for _ in range(2):
    child = os.fork()
    if not child:
        run.emit(events.ScalarLogged, name="n", value=1.0)
        run.flush()
        sys.exit(0)
    os.waitpid(child, 0)
run.close()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    lines = lines_of(cli, tmp_path / "family")
    assert keys_of(lines) == {("stream", "rank", "producer", *PLAIN)}
    assert len({(line["producer"], line["seq"]) for line in lines}) == len(lines)


def event_class(package: str):
    """Return an event class beam.searched of a package, made as protoc would."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}/beam.proto", package=package, syntax="proto3")
    file.dependency.append("esper_telemetry/v1/options.proto")
    message = file.message_type.add(name="BeamSearched")
    message.options.Extensions[options_pb2.event].name = "beam.searched"
    message.field.add(name="width", number=1, type=3, label=1)
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.BeamSearched"))


def test_two_types_of_one_short_name_are_told_apart_everywhere(cli, record_run):
    one, other = event_class("clash.one"), event_class("clash.other")

    def fill(run) -> None:
        run.emit(one, width=1)
        run.emit(other, width=2)
        run.emit(other, width=3)

    folder = record_run(fill, schemas=[one, other])
    names = ["run.started", "clash.one.BeamSearched", *["clash.other.BeamSearched"] * 2, "run.finished"]
    assert [line["type"] for line in lines_of(cli, folder)] == names
    assert [line.split("  ")[2] for line in cli("cat", folder).lines] == names
    assert [json.loads(line)["type"] for line in cli("tail", "--json", folder).lines] == names
    counts = json.loads(cli("info", "--json", folder).out)["events_by_type"]
    assert (counts["clash.one.BeamSearched"], counts["clash.other.BeamSearched"]) == (1, 2)
    stats = cli("stats", folder).out
    assert "\nclash.one.BeamSearched\n" in stats
    assert "\nclash.other.BeamSearched\n" in stats
    assert len(cli("cat", folder, "--type", "beam.searched").lines) == 3
    assert len(cli("cat", folder, "--type", "clash.one.BeamSearched").lines) == 1
