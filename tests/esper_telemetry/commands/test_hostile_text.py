"""Records of strangers: whatever their texts hold, no verb prints what a terminal would obey, and no line is forged."""

from __future__ import annotations

import json

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from esper_telemetry import events
from esper_telemetry.commands.output import printable
from esper_telemetry.v1 import options_pb2

EVIL = "\x1b[31mred\n9 forged\x00\x9b1m\u202e\r\x7f"


def hostile_class():
    """Return an event class whose name, unit and comment are hostile."""
    file = descriptor_pb2.FileDescriptorProto(name="hostile/event.proto", package="hostile", syntax="proto3")
    file.dependency.append("esper_telemetry/v1/options.proto")
    message = file.message_type.add(name="Hostile")
    message.options.Extensions[options_pb2.event].name = f"hostile.{EVIL}"
    field = message.field.add(name="amount", number=1, type=1, label=1)
    field.options.Extensions[options_pb2.meta].unit = f"m{EVIL}"
    file.source_code_info.location.add(path=[4, 0], leading_comments=f"Comment {EVIL}")
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hostile.Hostile"))


@pytest.fixture
def hostile(record_run, tmp_path):
    """The folders of two runs with hostile texts in every place that a record has."""
    cls = hostile_class()

    def fill(run) -> None:
        run.emit(cls, amount=1.5)
        run.emit(events.ScalarLogged, name=f"loss{EVIL}", value=float("nan"))
        run.bind(batch_idx=1, episodes_completed=1).emit(
            events.ActionDistribution, action_counts={f"wait{EVIL}": 1}, head=EVIL
        )
        run.results[f"accuracy{EVIL}"] = 1.0

    options = {"schemas": [cls], "tags": {f"key{EVIL}": f"value{EVIL}"}, "config": {f"lr{EVIL}": EVIL}}
    return [
        record_run(fill, name=f"run{EVIL}", run_id=name, folder=tmp_path / name, **options) for name in ("one", "two")
    ]


def control_characters(text: str) -> set[str]:
    return {char for char in text if not char.isprintable() and char != "\n"}


@pytest.mark.parametrize(
    "arguments",
    [["info"], ["cat"], ["tail"], ["stats"], ["stats", "--by-rank"], ["schema"], ["schema", "--markdown"], ["verify"]],
    ids=" ".join,
)
def test_no_verb_prints_a_control_character_of_a_record(cli, hostile, arguments):
    for folders in (hostile[:1], hostile):
        finished = cli(*arguments, *folders, FORCE_COLOR="", COLUMNS="200")
        assert finished.code == 0, finished.err
        assert "\\x1b[31mred" in finished.out or arguments == ["verify"]
        assert not control_characters(finished.out)
        assert not control_characters(finished.err)
        assert not [line for line in finished.lines if line.startswith("9 forged")]


def test_the_comparison_of_two_hostile_runs_is_plain_text_too(cli, hostile, record_run, tmp_path):
    other = record_run(lambda run: None, folder=tmp_path / "third", run_id="third")
    for arguments in (["diff"], ["diff", "--exact"]):
        finished = cli(*arguments, hostile[0], other)
        assert "\\x1b[31mred" in finished.out
        assert not control_characters(finished.out + finished.err)


def test_a_hostile_name_in_an_error_is_escaped(cli, hostile):
    finished = cli("cat", hostile[0], "--type", f"no{EVIL}".replace("\x00", ""))
    assert finished.code == 1
    assert not control_characters(finished.err)


def test_json_holds_the_texts_as_they_were(cli, hostile):
    lines = [json.loads(line) for line in cli("cat", "--json", hostile[0]).lines]
    assert f"loss{EVIL}" in {line["data"].get("name") for line in lines}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("späte Schicht \U0001f331", "späte Schicht \U0001f331"),
        ("a\x1b[0m", "a\\x1b[0m"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202eabc\x9b", "\\u202eabc\\x9b"),
    ],
    ids=["plain", "escape", "space", "bidi"],
)
def test_what_is_printable_stays_and_the_rest_is_escaped(text, shown):
    assert printable(text) == shown
