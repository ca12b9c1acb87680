"""JSON lines: what people pipe into jq, and what tools/decode_records.py prints too."""

from __future__ import annotations

import base64
import json

import pytest

from esper_telemetry import read
from esper_telemetry.decode import json_line, rfc3339
from esper_telemetry.v1 import steps_pb2


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_795_386_808_000_000_001, "2026-11-22T22:33:28.000000001Z"),
        (2**64 - 1, "2554-07-21T23:34:33.709551615Z"),
    ],
)
def test_times_are_rfc_3339_with_every_nanosecond(time, text):
    assert rfc3339(time) == text


def test_a_line_has_type_seq_time_and_data_in_this_order(record_run):
    lines = [json.loads(json_line(event)) for event in read(record_run())]
    assert [list(line) for line in lines] == [["type", "seq", "time", "data"]] * len(lines)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_nan_and_infinities_are_strings_so_that_the_line_is_json(record_run):
    (event,) = read(record_run(), types="epoch.completed")
    data = json.loads(json_line(event), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["data"]
    assert (data["train_loss"], data["val_loss"], data["val_accuracy"]) == ("NaN", "-Infinity", 0.0)


def test_text_is_utf8_and_bytes_are_base64(record_run):
    (event,) = read(record_run(), types="counterfactual.computed")
    assert "späte Schicht \u2028 \U0001f331" in json_line(event)

    def emit(run):
        block = steps_pb2.StepBlock(row_type="x", columns=[{"field": "f", "flags": b"\x00\xff"}], steps=2, envs=2)
        run.bind(batch_idx=1).emit(block)

    (block,) = read(record_run(emit), types="steps.block", expand=False)
    assert base64.b64decode(json.loads(json_line(block))["data"]["columns"][0]["flags"]) == b"\x00\xff"
