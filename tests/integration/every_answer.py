"""A program: print what each kind of field answers to each kind of value, at the first call and after many.

It needs the SDK and protobuf alone, so that every protobuf of the range can run it: their answers are to be equal.
"""

from __future__ import annotations

import enum
import json
import math
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "esper_telemetry" / "schema"))

from foreign import foreign, scalars

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.call_shapes import CallShapes


class Stage(enum.IntEnum):
    """A member is an integer."""

    FIRST = 1


class Step(int):
    """A subclass of an integer."""


class Index:
    """An integer for those who ask; nobody does."""

    def __index__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "Index()"


INTEGERS = [
    *(2**n + d for n in (0, 7, 14, 28, 31, 32, 53, 63, 64) for d in (-1, 0, 1)),
    -1,
    -(2**31),
    -(2**63),
    10**400,
]
REALS = [0.0, -0.0, 1.0, 1.5, 1e39, 5e-324, math.inf, math.nan, Fraction(1, 3), Decimal(1), 1j]
TEXTS = ["", "1", "x", "FIRST", "KIND_FIRST", "first", "\ud800", "x" * 20_000, b"x", b"\xff", bytearray(b"x")]
OTHERS = [
    None,
    True,
    False,
    Stage.FIRST,
    Step(1),
    Index(),
    object,
    [1],
    (1,),
    [None],
    [True],
    ["FIRST"],
    {},
    {"int64": True},
]
VALUES = [*INTEGERS, *REALS, *TEXTS, *OTHERS]
FITTING = [1, 0.5, True, "FIRST", b"x"]


def answer(cls: type, shapes: CallShapes, field: str, value: object) -> str:
    """Return the payload of a call, or that it was refused."""
    required = {"must": 1} if field in ("left", "right") else {}
    try:
        row = shapes.row({**required, field: value})
        # A zero of a field without presence is unset, written or not: what a reader is given is compared.
        message = cls.FromString(row.shape.payload(row.values))
        return message.SerializeToString(deterministic=True).hex()[:200]
    except SchemaError:
        return "refused"


def main() -> None:
    """Print the answers as JSON."""
    answers = {}
    for syntax in ("proto2", "proto3"):
        for message, fields in (("Everything", scalars()), ("Odd", ["must", "left", "len"])):
            cls = foreign(message, syntax)
            for field in (name for name in cls.DESCRIPTOR.fields_by_name if name.split("_")[-1] in [*fields, "inner"]):
                for value in VALUES:
                    shapes = CallShapes(cls)
                    first = answer(cls, shapes, field, value)
                    for fitting in FITTING * 20:
                        answer(cls, shapes, field, fitting)
                    later = answer(cls, shapes, field, value)
                    answers[f"{syntax} {message}.{field} {value!r:.60}"] = [first, later]
    print(json.dumps(answers))  # noqa: T201 - a program speaks on its standard output


if __name__ == "__main__":
    main()
