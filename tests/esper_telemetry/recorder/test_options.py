"""Options are checked where they are given."""

import pytest

import esper_telemetry as et
from esper_telemetry import errors
from esper_telemetry.recorder.options import disabled_by_environment


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"flush_interval": 0}, "RecordOptions.flush_interval is 0; it must be more than 0"),
        ({"flush_interval": float("nan")}, "flush_interval is nan"),
        ({"buffer_bytes": -1}, "buffer_bytes is -1"),
        ({"sync": "always"}, "RecordOptions.sync is 'always'; use none, close, interval or every"),
        ({"keep_bytes": 0}, "keep_bytes is 0; use None to keep all segments"),
        ({"reserve_bytes": -1}, "reserve_bytes is -1; it must be 0 or more"),
        ({"on_error": "ignore"}, "on_error is 'ignore'; use warn or raise"),
    ],
)
def test_a_bad_value_is_named(option, said):
    with pytest.raises(errors.ConfigError, match=said):
        et.RecordOptions(**option)


@pytest.mark.parametrize(
    ("value", "disabled"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False), ("False", False)]
)
def test_the_environment_disables(monkeypatch, value, disabled):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", value)
    assert disabled_by_environment() is disabled
