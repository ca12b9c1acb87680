"""Somebody else's event: compiled with protoc, emitted without registration, read back without its generated code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEAM = """
syntax = "proto3";
package acme.v1;
import "esper_telemetry/v1/options.proto";

// How a beam ended.
enum BeamEnd {
  BEAM_END_UNSPECIFIED = 0;
  // It found what it looked for.
  BEAM_END_GOAL_REACHED = 1 [(esper_telemetry.v1.label) = "goal"];
  // It was cut.
  BEAM_END_PRUNED = 2;
}

// A beam search ended.
message BeamSearched {
  option (esper_telemetry.v1.event) = { name: "beam.searched" level: LEVEL_NORMAL requires: [CONTEXT_KEY_STEP] };
  // Candidates kept at each depth.
  optional uint32 width = 1 [(esper_telemetry.v1.meta) = { unit: "{candidate}" kind: KIND_GAUGE }];
  // Wall time of the search.
  optional double search_time_ms = 2 [(esper_telemetry.v1.meta) = { unit: "ms" min: 0 }];
  // How each beam ended.
  repeated BeamEnd ends = 3;
  // Best score by depth.
  map<int32, double> scores = 4;
}
"""
EMIT = """
    import sys
    from acme.v1 import beam_pb2
    import esper_telemetry as et
    with et.start_run(sys.argv[1], name="beams", run_id="beams", strict=True) as run:
        for width in (4, 8):
            ends = [beam_pb2.BEAM_END_GOAL_REACHED, "BEAM_END_PRUNED"]
            fields = {"width": width, "search_time_ms": width / 8, "ends": ends, "scores": {2: 0.5, -1: 0.25}}
            run.bind(step=width).emit(beam_pb2.BeamSearched, **fields)
"""
READ = """
    import json, sys
    import esper_telemetry as et
    assert "acme" not in sys.modules
    events = et.read(sys.argv[1], types="beam.*")
    print(json.dumps([[event.type, event.full_name, event.data, event.units, event.message.width] for event in events]))
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A package compiled by protoc against the include path that the SDK prints, and a run that used it."""
    work = tmp_path_factory.mktemp("stranger")
    (work / "acme" / "v1").mkdir(parents=True)
    (work / "acme" / "v1" / "beam.proto").write_text(BEAM)
    tools = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tools.gen_proto import *; print(generator_path(ROOT / '.protoc'))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[-1]
    include = subprocess.run(
        [sys.executable, "-m", "esper_telemetry.schema"], capture_output=True, text=True, check=True
    ).stdout.strip()
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", f"-I{tools}/grpc_tools/_proto", "-I."]
    for options in (["--python_out=."], ["--include_source_info", "--descriptor_set_out=acme/v1/schema.binpb"]):
        environment = {**os.environ, "PYTHONPATH": tools}
        subprocess.run([*protoc, *options, "acme/v1/beam.proto"], cwd=work, env=environment, check=True)
    run_python(EMIT, work / "runs", cwd=work, PYTHONPATH=str(work))
    return work


def run_python(code: str, *arguments: object, cwd: Path, **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_reader_without_its_code_decodes_it_with_units(stranger, tmp_path):
    first, second = json.loads(run_python(READ, stranger / "runs" / "beams", cwd=tmp_path))
    assert first == [
        "beam.searched",
        "acme.v1.BeamSearched",
        {
            "width": 4,
            "search_time_ms": 0.5,
            "ends": ["goal", "PRUNED"],
            "scores": {"-1": 0.25, "2": 0.5},
            "step": 4,
        },
        {"width": "{candidate}", "search_time_ms": "ms", "step": "{step}"},
        4,
    ]
    assert second[2]["width"] == 8


def test_the_one_file_decoder_and_cat_print_it_alike(stranger, tmp_path):
    tool = [sys.executable, str(ROOT / "tools" / "decode_records.py"), "--type", "acme.v1.*"]
    cat = [sys.executable, "-m", "esper_telemetry", "cat", "--json", "--type", "acme.v1.*"]
    printed = [
        subprocess.run(
            [*command, str(stranger / "runs" / "beams")], cwd=tmp_path, capture_output=True, check=True
        ).stdout
        for command in (tool, cat)
    ]
    assert printed[0] == printed[1]
    assert printed[0].count(b'"type":"beam.searched"') == 2


def test_its_reference_has_its_comments_and_units(stranger, tmp_path):
    command = [sys.executable, "-m", "esper_telemetry", "schema", "--type", "beam.*", str(stranger / "runs" / "beams")]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "beam.searched  acme.v1.BeamSearched  level normal, shed later, requires step" in text
    assert "    search_time_ms  double [ms] 0..\n        Wall time of the search.\n" in text
    assert "      1  goal  It found what it looked for." in text
