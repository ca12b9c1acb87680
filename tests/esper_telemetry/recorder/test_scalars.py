"""A dict of values is one event, and one bad value takes no other along."""

from __future__ import annotations

import enum
import math
import threading
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
import torch

import esper_telemetry as et
from esper_telemetry.errors import SchemaError
from esper_telemetry.testing import memory_run, recorded

FULL_NAME = "esper_telemetry.v1.ScalarsLogged"


class Phase(enum.Enum):
    WARM_UP = "warm_up"


def logged(*calls, **options):
    """Return what `run.log` recorded for each (values, keywords), and the losses."""
    run, sink = memory_run(strict=False, **options)
    for values, keywords in calls:
        run.log(values, **keywords)
    run.close()
    events = [(event.name, event.data) for event in recorded(sink)]
    return [one for one in events if one[0] in ("scalars.logged", "text.logged")], run.stats().drops


def scalars(values, **keywords):
    events, drops = logged((values, keywords))
    return [data for name, data in events if name == "scalars.logged"], drops.get((FULL_NAME, "invalid"), 0)


def test_a_dict_is_one_event_in_a_real_record(record_run):
    folder = record_run(lambda run: run.log({"loss": 0.25, "eval": {"acc": 0.5, "deep": {"er": 1}}}, step=7))
    (event,) = (event for event in et.read(folder) if event.type == "scalars.logged")
    assert event.data == {"scalars": {"eval/acc": 0.5, "eval/deep/er": 1.0, "loss": 0.25}, "step": 7}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3.0),
        (np.bool_(1), 1.0),
        (np.array(2.5), 2.5),
        (Fraction(1, 4), 0.25),
        (math.inf, math.inf),
        (-0.0, -0.0),
        (2**53, float(2**53)),
    ],
    ids=repr,
)
def test_every_number_on_the_host_is_a_value(value, number):
    (data,), refused = scalars({"x": value})
    assert data["scalars"] == {"x": number}
    assert not refused


def test_nan_stays_nan_and_none_is_absent():
    (data,), refused = scalars({"x": math.nan, "y": None})
    assert list(data["scalars"]) == ["x"]
    assert math.isnan(data["scalars"]["x"])
    assert not refused


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(()),
        torch.ones(3),
        np.ones(3),
        [1.0],
        10**400,
        object(),
        1j,
        b"bytes",
        lambda: 1.0,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_is_counted_and_takes_no_other_along(value):
    (data,), refused = scalars({"before": 1.0, "bad": value, "after": 2.0}, step=3)
    assert data == {"scalars": {"before": 1.0, "after": 2.0}, "step": 3}
    assert refused == 1


def test_each_refused_name_is_said_once(caplog):
    call = ({"a": torch.ones(1), "b": torch.ones(1), "c": 1.0}, {})
    _, drops = logged(call, call, call)
    assert drops == {(FULL_NAME, "invalid"): 6}
    said = [record.message for record in caplog.records if "was given a torch.Tensor" in record.message]
    assert [("'a'" in text, "'b'" in text) for text in said] == [(True, False), (False, True)]


@pytest.mark.parametrize("values", [5, None, "loss", [("loss", 1.0)], torch.ones(2)], ids=repr)
def test_something_else_than_a_dict_is_counted(values):
    assert scalars(values) == ([], 1)


def test_a_dict_that_contains_itself_ends_somewhere():
    values: dict = {"loss": 1.0}
    values["self"] = values
    (data,), refused = scalars(values)
    assert data["scalars"]["loss"] == data["scalars"]["self/self/loss"] == 1.0
    assert refused == 1


def test_a_name_given_twice_is_refused_the_second_time():
    (data,), refused = scalars({"a": {"b": 1.0}, "a/b": 2.0})
    assert data["scalars"] == {"a/b": 1.0}
    assert refused == 1


def test_names_need_not_be_texts_of_utf8():
    (data,), refused = scalars({1: 1.0, Phase.WARM_UP: 2.0, "\udcff": 3.0, None: 4.0})
    assert data["scalars"] == {"1": 1.0, "warm_up": 2.0, "\\udcff": 3.0}
    assert refused == 1


def test_a_text_becomes_a_text_event_of_the_same_step():
    events, drops = logged(({"loss": 1.0, "note": {"why": "resumed"}}, {"step": 4, "batch_idx": 2}))
    assert events == [
        ("scalars.logged", {"scalars": {"loss": 1.0}, "step": 4, "batch_idx": 2}),
        ("text.logged", {"name": "note/why", "text": "resumed", "step": 4, "batch_idx": 2}),
    ]
    assert not drops


@pytest.mark.parametrize(
    ("step", "recorded_step"), [(-2, -2), (np.int64(5), 5), (6.0, 6), (0, 0), (2**63 - 1, 2**63 - 1)]
)
def test_a_step_may_go_back_and_be_of_numpy(step, recorded_step):
    (data,), refused = scalars({"x": 1.0}, step=step)
    assert data["step"] == recorded_step
    assert not refused


@pytest.mark.parametrize("step", [torch.tensor(3), 0.5, math.nan, math.inf, 2**63, "3"], ids=repr)
def test_a_step_that_is_none_is_counted_and_the_values_stay(step):
    assert scalars({"x": 1.0}, step=step) == ([{"scalars": {"x": 1.0}}], 1)


def test_a_dict_of_many_is_recorded_whole():
    values = {f"layer.{number}.grad_norm": float(number) for number in range(5000)}
    events, refused = scalars(values)
    assert {name: value for data in events for name, value in data["scalars"].items()} == values
    assert not refused


def test_a_dict_that_grows_meanwhile_is_read_without_an_error():
    values: dict = defaultdict(float, x=1.0)
    done = threading.Event()

    def grow():
        number = 0
        while not done.is_set():
            values[f"k{number % 500}"] = 1.0
            values.pop(f"k{(number - 250) % 500}", None)
            number += 1

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        events, refused = logged(*[(values, {})] * 200)
    finally:
        done.set()
        thread.join()
    whole = [data for _, data in events if "x" in data["scalars"]]
    assert len(whole) + sum(refused.values()) == 200


def test_a_level_that_lets_nothing_through_asks_no_value():
    class Fatal(dict):
        def items(self):
            raise AssertionError

    assert logged((Fatal(x=1.0), {}), level="minimal") == ([], {})


def test_strict_raises_after_the_rest_was_recorded():
    run, sink = memory_run()
    with pytest.raises(SchemaError, match="'bad'"):
        run.log({"bad": torch.ones(1), "good": 1.0})
    run.close()
    assert [event.data for event in recorded(sink) if event.name == "scalars.logged"] == [{"scalars": {"good": 1.0}}]
