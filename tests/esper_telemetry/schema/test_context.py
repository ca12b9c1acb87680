"""Context: checked and serialized once, when it is bound."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import CONTEXT_FIELDS, encode_context
from esper_telemetry.v1.context_pb2 import Context
from tests.esper_telemetry.schema.strategies import THOROUGH, full, messages


@THOROUGH
@given(messages(Context))
def test_the_bytes_are_those_of_the_real_message(context):
    fields = {field.name: value for field, value in context.ListFields()}
    assert Context.FromString(encode_context(fields)) == context


def test_every_field_of_context_can_be_bound():
    (context,) = full(Context)
    assert encode_context({name: getattr(context, name) for name in CONTEXT_FIELDS}) == context.SerializeToString()


def test_none_is_unset_and_zero_is_not():
    read = Context.FromString(encode_context({"env_id": 0, "inner_epoch": None}))
    assert read.HasField("env_id")
    assert not read.HasField("inner_epoch")


def test_no_context_takes_no_bytes():
    assert encode_context({}) == b""


def test_a_torch_device_is_written_as_pytorch_writes_it():
    assert Context.FromString(encode_context({"device": torch.device("cuda", 1)})).device == "cuda:1"


def test_a_numpy_integer_is_converted():
    assert Context.FromString(encode_context({"env_id": np.int64(3)})).env_id == 3


def test_an_unknown_field_is_refused_with_the_known_ones():
    with pytest.raises(SchemaError, match="context has no field 'epoch'; its fields are batch_idx, device, env_id"):
        encode_context({"epoch": 3})


@pytest.mark.parametrize(
    "fields",
    [
        {"env_id": -1},
        {"env_id": 1.5},
        {"env_id": "0"},
        {"step": 2**64},
        {"step": Fraction(10**400)},
        {"group": b"\xff"},
    ],
    ids=["negative", "real", "text", "too_large", "beyond_a_double", "no_text"],
)
def test_a_value_that_does_not_fit_is_refused_by_name(fields):
    with pytest.raises(SchemaError, match=next(iter(fields))):
        encode_context(fields)


def test_a_tensor_is_refused_without_being_read():
    with pytest.raises(SchemaError, match=r"'env_id' was given a torch\.Tensor"):
        encode_context({"env_id": torch.tensor(3, device="meta")})
