"""A tree cut to a size."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esper_telemetry.facts.plainconfig import canonical_json
from esper_telemetry.facts.shrink import shrink

LIMIT = 2000


def test_what_fits_is_not_touched():
    value = {"a": [1, 2], "b": "x" * 100}
    assert shrink(value, LIMIT) is value


def test_the_largest_value_goes_and_the_settings_stay():
    found = shrink({"lr": 0.1, "text": "x" * 5000, "seed": 3}, LIMIT)
    assert found == {"lr": 0.1, "text": "<cut: 5,002 bytes>", "seed": 3}


def test_a_list_keeps_its_head():
    found = shrink({"lr": 0.1, "files": [f"file-{number:04}" for number in range(1000)]}, LIMIT)
    assert found["lr"] == 0.1
    assert found["files"][:2] == ["file-0000", "file-0001"]
    kept = len(found["files"]) - 1
    assert found["files"][-1] == f"<cut: {1000 - kept:,} more>"
    assert kept > 50


def test_a_large_value_far_inside_takes_nothing_with_it():
    found = shrink({"a": {"b": {"c": "x" * 5000, "d": 1}, "e": 2}}, LIMIT)
    assert found == {"a": {"b": {"c": "<cut: 5,002 bytes>", "d": 1}, "e": 2}}


def test_of_many_small_values_the_first_stay():
    found = shrink({f"{number:05}": number for number in range(1000)}, LIMIT)
    kept = len(found) - 1
    assert found["<cut>"] == f"{1000 - kept} more"
    assert list(found)[:kept] == [f"{number:05}" for number in range(kept)]


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=100), inner, max_size=30),
    max_leaves=100,
)


# The trees are large and the machine is shared: how long one takes says nothing.
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=10), values), st.integers(200, 3000))
def test_whatever_the_tree_is_it_fits(value, limit):
    found = shrink(value, limit)
    assert len(canonical_json(found)) <= limit
    assert isinstance(found, dict)
    assert found == shrink(value, limit)
