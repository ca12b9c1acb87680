"""`cat`: every event, for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esper_telemetry.v1 import steps_pb2

TOOL = Path(__file__).parents[3] / "tools" / "decode_records.py"


def tool(*arguments: object) -> str:
    finished = subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, check=False)
    return finished.stdout.decode()


def emit_block(run) -> None:
    columns = [{"field": "op", "indices": bytes([0, 1]), "labels": ["wait", "cull"], "numbers": [1, 3]}]
    block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=1, envs=2, columns=columns)
    run.bind(batch_idx=7, device="cpu").emit(block)


def test_its_json_lines_are_those_of_the_one_file_decoder_byte_for_byte(cli, record_run):
    for folder in (record_run(), record_run(emit_block)):
        finished = cli("cat", "--format", "json", folder)
        assert finished.code == 0
        assert not finished.err
        assert finished.out == tool(folder)
        assert cli("cat", "--json", folder).out == finished.out


def test_a_damaged_record_gives_what_is_intact_and_exits_3(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), scalars(5))
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"]
    data[places[3] + 20] ^= 0xFF
    path.write_bytes(data)
    finished = cli("cat", "--json", path)
    assert finished.code == 3
    assert [json.loads(line)["seq"] for line in finished.lines] == [*range(1, 6), *range(11, 16)]
    assert "numbers 6 to 10" in finished.err


def test_a_cut_record_warns_in_the_one_wording(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), close=False)
    path.write_bytes(path.read_bytes()[:-9])
    finished = cli("cat", path)
    assert finished.code == 3
    size = path.stat().st_size
    assert finished.err == (
        f"warning: {path}: file ends inside frame 2 at byte {size:,}; 5 events before it are intact\n"
    )


def test_text_is_for_people(cli, record_run):
    lines = cli("cat", record_run()).lines
    assert lines[2].split("  ", 1)[1] == (
        "#3  seed.culled  [env_id=0 device=cuda:0 inner_epoch=1 global_epoch=3]"
        "  slot_id=mid seed_id=s-1 from_stage=TRAINING alpha=0.25"
    )


def test_a_block_can_be_shown_as_it_travelled(cli, record_run):
    folder = record_run(emit_block)
    types = [json.loads(line)["type"] for line in cli("cat", "--json", folder).lines]
    assert types == ["run.started", "policy.action_taken", "policy.action_taken", "run.finished"]
    types = [json.loads(line)["type"] for line in cli("cat", "--json", "--blocks", folder).lines]
    assert types == ["run.started", "steps.block", "run.finished"]


@pytest.mark.parametrize(("name", "kind"), [("unix", int), ("relative", float), ("local", str)])
def test_json_lines_take_the_time_format_too(cli, record_run, name, kind):
    first = json.loads(cli("cat", "--json", "--time-format", name, record_run()).lines[0])
    assert type(first["time"]) is kind


def test_text_survives_a_locale_that_cannot_hold_it(cli, record_run):
    finished = cli("cat", record_run(), LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert finished.code == 0
    assert "\N{SEEDLING}" in finished.out
