"""Raw values become a histogram in which each is counted once, within a bounded time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import esper_telemetry as et
from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.histogram import summarize
from esper_telemetry.testing import memory_run, recorded

ANY = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), max_size=60)
BINS = st.one_of(
    st.integers(1, 70), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, unique=True).map(sorted)
)


def test_a_histogram_is_in_the_record_without_a_batch(record_run):
    folder = record_run(lambda run: run.log_histogram("w", [0.0, 1.0, 1.0, 2.0], bins=2, step=4))
    (event,) = (event for event in et.read(folder) if event.type == "histogram.summarized")
    edges = [0.0, 1.0, math.nextafter(2.0, 3.0)]
    moments = {"min": 0.0, "max": 2.0, "mean": 1.0, "std": math.sqrt(0.5)}
    assert event.data == {
        "name": "w", "edges": edges, "counts": [0, 1, 3, 0], "nan": 0, "count": 4, "step": 4, **moments,
    }  # fmt: skip


@given(ANY, BINS)
def test_every_value_is_in_the_bucket_that_the_schema_says(values, bins):
    found = summarize(values, bins)
    edges = found["edges"]
    assert edges == sorted(set(edges))
    bounds = zip([-math.inf, *edges], [*edges, math.inf], strict=True)
    numbers = [value for value in values if not math.isnan(value)]
    expected = [sum(low <= value < high for value in numbers) for low, high in bounds]
    expected[-1] += sum(value == math.inf for value in numbers)
    assert found["counts"] == expected
    assert found["nan"] == len(values) - len(numbers)
    assert found["count"] == len(values)


@given(ANY, BINS)
def test_a_list_and_an_array_of_the_same_values_have_the_same_histogram(values, bins):
    by_list, by_array = summarize(values, bins), summarize(np.array(values, dtype=float), bins)
    for name in ("edges", "counts", "nan", "count", "min", "max"):
        assert by_list[name] == by_array[name], name


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_without_edges_every_finite_value_is_inside(values):
    found = summarize([*values, math.inf, -math.inf, -math.inf], 8)
    assert (found["counts"][0], found["counts"][-1]) == (2, 1)
    assert found["min"] == min(values)
    assert found["max"] == max(values)
    assert found["mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert found["std"] == pytest.approx(np.std(values), abs=1e-5)


@pytest.mark.parametrize("make", [list, np.array], ids=["list", "array"])
def test_nothing_and_nothing_finite_are_measurements(make):
    empty = summarize(make([]), 8)
    assert (empty["count"], empty["edges"], empty["counts"]) == (0, [], [0])
    odd = summarize(make([math.nan, math.inf, -math.inf]), 8)
    assert (odd["count"], odd["nan"], odd["edges"], odd["counts"]) == (3, 1, [], [2])
    assert [odd[name] for name in ("min", "max", "mean", "std")] == [None] * 4


@pytest.mark.parametrize("make", [list, np.array], ids=["list", "array"])
def test_constant_values_are_in_one_bucket(make):
    found = summarize(make([3.0] * 7), 64)
    assert found["counts"] == [0, 7, 0]
    assert found["std"] == 0.0


@pytest.mark.parametrize("make", [list, np.array], ids=["list", "array"])
def test_values_of_any_size_do_not_overflow(make):
    found = summarize(make([-1.7e308, 1.7e308, 5e-324]), 3)
    assert sum(found["counts"]) == 3
    assert found["std"] is None or math.isfinite(found["std"])


@pytest.mark.parametrize("size", [300_001, 1_000_000])
def test_of_a_long_array_every_nth_value_is_looked_at_and_all_columns(size):
    matrix = np.tile(np.arange(64.0), size // 64 + 1)[:size].reshape(-1)
    found = summarize(matrix, 64)
    assert found["count"] == size
    assert found["stride"] > 1
    assert sum(found["counts"]) == -(-size // found["stride"])
    assert (found["min"], found["max"]) == (0.0, 63.0)


def test_of_a_long_list_every_nth_value_is_looked_at():
    found = summarize([float(number) for number in range(100_000)], 4)
    assert found["count"] == 100_000
    assert sum(found["counts"]) == -(-100_000 // found["stride"])


@pytest.mark.parametrize(
    "values", [np.arange(12).reshape(3, 4).T, np.arange(12, dtype=">i4"), np.arange(12, dtype=np.float16), range(12)]
)
def test_any_shape_order_and_type_of_numbers_will_do(values):
    found = summarize(values, 3)
    assert found["counts"] == [0, 4, 4, 4, 0]


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(3),
        [torch.ones(())],
        np.array(["a"]),
        np.array([1j]),
        np.array([object()]),
        np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        "text",
        b"bytes",
        5.0,
        None,
        {"a": 1.0},
        ["a"],
        [10**400],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_no_numbers_of_the_host_is_refused(values):
    with pytest.raises(SchemaError):
        summarize(values, 8)


@pytest.mark.parametrize(
    "bins", [0, -1, 5000, 2.5, "8", [], [1.0, 1.0], [2.0, 1.0], [0.0, math.inf], [math.nan], None, True]
)
def test_bins_that_cannot_be_used_are_refused(bins):
    with pytest.raises(SchemaError, match="bins"):
        summarize([1.0], bins)


def test_a_bad_call_is_counted_and_raises_nothing():
    run, sink = memory_run(strict=False)
    run.log_histogram("w", torch.ones(3))
    run.log_histogram("w", [1.0], bins=0)
    run.log_histogram(object(), [1.0])
    run.close()
    assert run.stats().drops == {("esper_telemetry.v1.HistogramSummarized", "invalid"): 3}
    assert "histogram.summarized" not in [event.name for event in recorded(sink)]
