"""Arrays of one version of a schema become those of another, and labels stay labels."""

from __future__ import annotations

import pyarrow as pa
import pytest

from esper_telemetry.errors import CorruptRecordError, SchemaError
from esper_telemetry.tables.columntypes import merged_type
from esper_telemetry.tables.conversion import conformed, labelled, relabelled
from esper_telemetry.tables.rowwise import parsed
from esper_telemetry.v1 import training_pb2

OLD = pa.struct([("head", pa.string()), ("entropy", pa.float64())])
NEW = pa.struct([("entropy", pa.float64()), ("loss", pa.float64())])


def test_two_versions_of_a_nested_message_have_the_fields_of_both():
    merged = merged_type(pa.list_(OLD), pa.list_(NEW), "heads")
    rows = [[{"head": "op", "entropy": 0.5}], None, []]
    assert conformed(pa.array(rows, pa.list_(OLD)), merged).to_pylist() == [
        [{"head": "op", "entropy": 0.5, "loss": None}],
        None,
        [],
    ]
    in_map = merged_type(pa.map_(pa.string(), OLD), pa.map_(pa.string(), NEW), "by_head")
    found = conformed(pa.array([[("op", {"loss": 1.0})]], pa.map_(pa.string(), NEW)), in_map)
    assert found.to_pylist() == [[("op", {"head": None, "entropy": None, "loss": 1.0})]]
    with pytest.raises(SchemaError, match="heads is list"):
        merged_type(pa.list_(OLD), pa.string(), "heads")


def test_texts_that_are_there_twice_are_one_label():
    assert relabelled(pa.array([0, 1, 2, None]), pa.array(["a", "a", None])).to_pylist() == ["a", "a", None, None]
    assert len(relabelled(pa.array([0, 1]), pa.array(["a", "a"])).dictionary) == 1


def test_more_numbers_than_labels_can_be_are_refused():
    enum = training_pb2.Trend.DESCRIPTOR
    numbers = pa.array(range(1 << 15), pa.int32())
    with pytest.raises(CorruptRecordError, match="32,768 different numbers of the enum"):
        labelled(numbers, enum, zero_is_unset=False)
    assert labelled(numbers[:4], enum, zero_is_unset=True).to_pylist() == [
        None,
        "plateau",
        "improvement",
        "degradation",
    ]


def test_a_payload_that_is_no_message_is_none():
    message = training_pb2.ScalarLogged(name="loss")
    assert parsed([message.SerializeToString(), b"\xff"], training_pb2.ScalarLogged) == [message, None]
