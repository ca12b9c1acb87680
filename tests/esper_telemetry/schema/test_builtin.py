"""The types that every writer of this version numbers first."""

from __future__ import annotations

import esper_telemetry
from esper_telemetry import events
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.schema.builtin import built_in_types


def test_every_public_event_is_built_in_and_none_comes_twice():
    names = [one.cls.__name__ for one in built_in_types()]
    assert set(events.__all__) <= set(names)
    assert len(names) == len(set(names))


def test_a_run_numbers_them_in_this_order(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="x") as run:
        pass
    (path,) = run.folder.iterdir()
    with RecordReader(path) as reader:
        expected = {number: one.full_name for number, one in enumerate(built_in_types(), 1)}
        assert expected.items() >= reader.types.items() > set()
