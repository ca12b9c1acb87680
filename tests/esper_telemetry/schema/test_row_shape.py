"""Rows of calls become columns: by number of field, converted, the context apart."""

from __future__ import annotations

from esper_telemetry import events
from esper_telemetry.schema.row_shape import PAYLOAD, plain_shape, shape_of, write_shape
from esper_telemetry.v1 import context_pb2

CONTEXT = context_pb2.Context.DESCRIPTOR


def written(cls, fields):
    return write_shape(cls.DESCRIPTOR, CONTEXT, *shape_of(fields))


def test_columns_are_by_number_whatever_the_order_of_the_call():
    fields = {"step": 3, "value": True, "name": "loss"}
    shape = written(events.ScalarLogged, fields)
    numbers = [field.number for field in shape.fields]
    assert numbers == sorted(numbers)
    assert list(shape.columns([fields, {"name": "b", "value": False, "step": 4}])) == [
        ["loss", "b"], [True, False], [3, 4],
    ]  # fmt: skip


def test_labels_and_bools_become_numbers():
    shape = written(events.AnomalyDetected, {"anomaly": "value_collapse"})
    assert list(shape.columns([{"anomaly": "ANOMALY_KIND_VALUE_COLLAPSE"}, {"anomaly": "value_collapse"}])) == [[3, 3]]
    shape = written(events.ScalarLogged, {"step": True})
    assert [type(value) for value in shape.columns([{"step": True}])[0]] == [int]


def test_fields_of_the_context_are_apart_and_none_unsets_what_is_bound():
    shape = written(events.ScalarSummarized, {"name": "x", "step": 7, "rank": None, "sum": None})
    assert [source.name for source in shape.sources] == ["name"]
    assert [source.name for source in shape.context] == ["step"]
    assert shape.unset == {"rank"}


def test_what_has_no_columns_has_no_shape():
    assert written(events.ScalarLogged, {"nam": 1}) is None
    assert written(events.ScalarsLogged, {"scalars": {}}) is None
    assert written(events.ScalarLogged, {"value": object()}) is None


def test_more_values_take_more_memory():
    fields = events.ScalarLogged.DESCRIPTOR.fields_by_name
    one = plain_shape([fields["value"]], (float,))
    two = plain_shape([fields["value"], fields["name"]], (float, str))
    assert 0 < one.held < two.held
    assert 0 < one.in_frame < two.in_frame


def test_a_payload_is_its_own_row():
    assert PAYLOAD.columns([b"a", b"b"]) == [[b"a", b"b"]]
    assert PAYLOAD.payload(b"a") == b"a"
