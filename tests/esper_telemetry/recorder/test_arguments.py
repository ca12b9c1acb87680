"""What a caller gives to start_run is checked in one place."""

from __future__ import annotations

import enum
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import esper_telemetry as et
from esper_telemetry.errors import ConfigError, TelemetryError
from esper_telemetry.facts import REDACTED, Redaction
from esper_telemetry.recorder.arguments import checked_folder, checked_name, checked_rank, checked_tags


class NoText:
    def __str__(self):
        raise RuntimeError

    __repr__ = __fspath__ = __index__ = __str__


class Kind(enum.StrEnum):
    RL = "rl"


def test_a_name_is_a_text_and_comes_out_clean():
    assert checked_name("caf\udce9") == r"caf\xe9"
    assert checked_name(Kind.RL) == "rl"
    assert len(checked_name("x" * 10_000).encode()) == 4096


@pytest.mark.parametrize("rank", [0, 3, np.int64(3), True])
def test_a_whole_number_is_a_rank(rank):
    assert checked_rank(rank) == int(rank)


def test_a_folder_is_any_path():
    assert checked_folder("runs") == Path("runs")
    assert checked_folder("") == Path()
    assert checked_folder(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("rl", "rl"), ("caf\udce9", r"caf\xe9"), (3, "3"), (0.5, "0.5"), (True, "True"), (Kind.RL, "rl"),
        (np.int64(3), "3"), (Path("a/b"), "a/b"), ("x" * 10_000, "x" * 4093 + "…"), ("", ""),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_tag_is_one_text(value, text):
    assert checked_tags({"k": value}, Redaction()) == {"k": text}


def test_a_tag_that_is_not_set_is_left_out_and_a_secret_one_hidden():
    redaction = Redaction()
    assert checked_tags({"job": None, "hf_token": "x", 3: "y"}, redaction) == {"hf_token": REDACTED, "3": "y"}
    assert redaction.places == ["tags.hf_token"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": None}, "name is None"),
        ({"name": NoText()}, "name is an object of type"),
        ({"run_id": 17}, r"run_id is 17 \(int\)"),
        ({"run_id": "a/b"}, "run id 'a/b'"),
        ({"run_id": "\udce9"}, "run_id is "),
        ({"rank": "0"}, r"rank is '0' \(str\); give a whole number"),
        ({"rank": 2**32}, "rank is 4294967296"),
        ({"rank": NoText()}, "rank is an object"),
        ({"dir": NoText()}, "dir is an object"),
        ({"dir": b"runs"}, r"dir is b'runs' \(bytes\)"),
        ({"dir": "a\0b"}, "dir is "),
        ({"tags": ["a"]}, "tags is an object of type list; give a dict"),
        ({"tags": {"a": [1]}}, r"tags\['a'\] is an object of type list"),
        ({"tags": {"a": torch.zeros((), device="meta")}}, r"tags\['a'\] is an object of type torch.Tensor"),
        ({"tags": {NoText(): 1}}, "the name an object of type"),
        ({"tags": {f"n{number}": "x" * 4096 for number in range(40)}}, "tags take 16"),
        ({"record": {"sync": "none"}}, "record is an object of type dict; give RecordOptions"),
        ({"clock": 3}, "clock is 3"),
        ({"clock": time}, "clock is an object of type module; wall_ns"),
        ({"collector": 7575}, "collector is 7575"),
        ({"collector": "localhost:7575", "stream": 3}, "stream is 3"),
        ({"schemas": 3}, "schemas is of type int; give a list"),
        ({"level": None}, "level None is unknown"),
        ({"level": ["normal"]}, "level "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "said",
)
def test_what_cannot_be_used_is_named_in_an_error_of_ours_and_nothing_is_written(tmp_path, arguments, said):
    with pytest.raises(TelemetryError, match=said):
        et.start_run(**{"dir": tmp_path / "runs", "name": "bad", **arguments})
    assert not (tmp_path / "runs").exists()


def test_errors_of_the_callers_objects_do_not_get_out():
    class Broken(dict):
        def keys(self):
            raise RuntimeError

        __iter__ = items = keys

    with pytest.raises(ConfigError):
        checked_tags(Broken(a=1), Redaction())
