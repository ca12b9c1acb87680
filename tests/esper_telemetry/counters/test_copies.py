"""Copies hold what was given, in rows that are used again, and a shelf takes one form only."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.counters.references import Shelf, Shelves

PARTS = [torch.tensor(2.5), torch.arange(12).view(3, 4).t(), torch.tensor([True, False]), torch.empty(0)]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_copy_is_what_was_given_whatever_came_after_it(as_bytes):
    shelf = Shelf(PARTS, as_bytes=as_bytes)
    kept = [shelf.copy([part + i if part.dtype != torch.bool else part for part in PARTS]) for i in range(300)]
    assert all(torch.equal(kept[7][i], PARTS[i] + 7) for i in (0, 1, 3))
    assert all(torch.equal(one[2], PARTS[2]) for one in kept)
    first = kept[0][1].data_ptr()
    shelf.rewind()
    assert shelf.copy(PARTS)[1].data_ptr() == first


def test_a_shelf_takes_parts_of_its_shapes_types_and_device_only():
    shelf = Shelf(PARTS, as_bytes=False)
    assert shelf.fits(PARTS)
    assert not shelf.fits(PARTS[:3])
    assert not shelf.fits([*PARTS[:3], torch.empty(1)])
    assert not shelf.fits([*PARTS[:3], torch.empty(0, dtype=torch.float64)])
    assert not shelf.fits([*PARTS[:3], torch.empty(0, device="meta")])


def test_shelves_are_told_apart_by_role_and_form_and_few_are_kept():
    shelves = Shelves(as_bytes=False)
    one = shelves.fitting(("a",), [torch.empty(3)])
    assert shelves.fitting(("a",), [torch.empty(3)]) is one
    assert shelves.fitting(("b",), [torch.empty(3)]) is not one
    for size in range(10, 30):
        shelves.fitting(("a",), [torch.empty(size)])
    shelves.rewind()
    assert len(shelves._shelves[("a",)]) == 4


def test_a_copy_made_under_inference_mode_can_be_used_outside_it():
    with torch.inference_mode():
        shelf = Shelf([torch.ones(2)], as_bytes=False)
        shelf.copy([torch.ones(2)])
    (kept,) = shelf.copy([torch.zeros(2)])
    assert not kept.is_inference()
