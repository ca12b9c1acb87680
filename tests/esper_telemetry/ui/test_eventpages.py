"""Events as a page asks for them: wishes are read strictly, and nothing is lost on the way to a browser."""

from __future__ import annotations

import json

import pytest

from esper_telemetry.decode import read, record_reference
from esper_telemetry.ui.eventpages import MOST, Wish, event_document, reference_document


@pytest.fixture
def events(record_run):
    return list(read(record_run()))


def types(events, **values) -> list[str]:
    wish = Wish.parse(values)
    return [event.type for event in events if wish.wants(event)]


def test_events_are_chosen_by_type_environment_number_and_text(events):
    assert types(events, type="seed.*") == ["seed.germinated", "seed.culled"]
    assert types(events, type="seed.culled,policy.*") == ["seed.culled", "policy.action_distribution"]
    assert types(events, env="1", type="epoch.*") == ["epoch.completed"]
    assert types(events, env="0, 1", type="epoch.*,seed.culled") == ["seed.culled", "epoch.completed"]
    assert types(events, text="CONV_light") == ["seed.germinated"]
    assert types(events, first="1", last="1") == ["run.started"]
    assert types(events, rank="3") == []


@pytest.mark.parametrize(
    "values", [{"env": "one"}, {"first": "-1"}, {"last": "9" * 30}, {"until_ms": "1.5"}, {"limit": "²"}]
)
def test_a_wish_that_is_no_number_is_refused_by_name(values):
    (name,) = values
    with pytest.raises(ValueError, match=name):
        Wish.parse(values)


def test_the_number_of_events_is_bounded():
    assert Wish.parse({"limit": "1000000"}).most == MOST


def test_an_event_keeps_nan_units_and_every_digit_of_its_time(events):
    (event,) = [event for event in events if event.type == "epoch.completed"]
    found = json.loads(json.dumps(event_document(event), allow_nan=False))
    assert found["data"]["train_loss"] == "NaN"
    assert found["data"]["val_loss"] == "-Infinity"
    assert found["data"]["val_accuracy"] == 0.0
    assert "train_accuracy" not in found["data"]
    assert found["time"].endswith("Z")
    assert found["units"]["val_accuracy"] == "%"


def test_the_schema_tells_units_comments_and_ranges(record_run):
    found = reference_document(record_reference(record_run()))
    field = found["events"]["ppo.update_completed"]["fields"]["lr"]
    assert field["comment"]
    assert field["min"] == 0
    assert found["context"]["env_id"]["comment"]
