"""Operations lead from one document to the next, and a line that grew costs its new end only."""

from __future__ import annotations

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.ui.changes import apply, changes

LEAVES = st.none() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)


@given(DOCUMENTS, DOCUMENTS)
def test_operations_turn_a_document_into_the_other(old, new):
    operations = json.loads(json.dumps(changes(old, new)))
    assert apply(copy.deepcopy(old), operations) == new


@given(DOCUMENTS)
def test_a_document_that_is_the_same_needs_no_operation(document):
    assert changes(document, copy.deepcopy(document)) == []


@given(st.lists(st.lists(st.integers(), min_size=2, max_size=2), max_size=30), st.integers(0, 30), st.integers(0, 5))
def test_points_behind_a_common_front_are_all_that_travels(points, keep, more):
    new = points[:keep] + [[index, -1] for index in range(more)]
    operations = changes({"lines": [{"points": points}]}, {"lines": [{"points": new}]})
    assert apply({"lines": [{"points": [*points]}]}, operations) == {"lines": [{"points": new}]}
    for path, front, items in operations:
        assert path == ["lines", 0, "points"]
        assert points[:front] == new[:front]
        assert front + len(items) == len(new)


def test_a_line_that_grew_by_a_point_costs_that_point():
    old = {"figures": [{"title": "loss", "lines": [{"points": [[n, n / 7, n, True] for n in range(1000)]}]}]}
    new = copy.deepcopy(old)
    new["figures"][0]["lines"][0]["points"].append([1000, 0.5, 1000, True])
    assert changes(old, new) == [[["figures", 0, "lines", 0, "points"], 1000, [[1000, 0.5, 1000, True]]]]


def test_true_is_not_taken_for_one():
    assert changes({"a": 1}, {"a": True}) == [[["a"], True]]
