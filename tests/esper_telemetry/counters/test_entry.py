"""An entry knows its tensors, their names and their memory, and survives what is no tensor."""

from __future__ import annotations

import torch

from esper_telemetry.counters.entry import bytes_of, check_entry, names_of, parts_of, rebuilt, size_of
from tests.esper_telemetry.counters.naive import by_head, random_step, spec_of

SPEC = spec_of(2, scalars=("reward",))
PACKED = (*random_step(SPEC, 4, 0), None, {"reward": torch.ones(4)}, {}, 0)
BY_HEAD = (*by_head(SPEC, random_step(SPEC, 4, 0)), None, None, {}, 0)
VALUE = ("reward", torch.ones(300), None)


def test_parts_and_names_go_together():
    assert names_of(PACKED) == ["actions (packed)", "masks (packed)", "success", "scalar 'reward'"]
    assert names_of(BY_HEAD) == [
        "actions of head 'op'",
        "actions of head 'slot'",
        "masks of head 'op'",
        "masks of head 'slot'",
        "success",
    ]
    assert names_of(VALUE) == ["scalar 'reward'"]
    for entry in (PACKED, BY_HEAD, VALUE, (None, PACKED[1], *[None] * 3, {}, 0), ([1], 2.0, *[None] * 3, {}, 0)):
        assert len(parts_of(entry)) == len(names_of(entry))


def test_memory_is_counted_as_an_allocator_gives_it():
    assert bytes_of(VALUE) == 1200
    assert bytes_of(PACKED) == 4 * 512
    assert bytes_of(("reward", 3.0, None)) == 512, "what is no tensor does no harm"


def test_an_entry_is_rebuilt_with_other_values_in_the_same_places():
    weighted = ("reward", torch.ones(3), torch.zeros(3))
    for entry in (PACKED, BY_HEAD, VALUE, weighted):
        copied = rebuilt(entry, [part.clone() for part in parts_of(entry)])
        assert names_of(copied) == names_of(entry)
        pairs = list(zip(parts_of(entry), parts_of(copied), strict=True))
        assert all(one.data_ptr() != other.data_ptr() and torch.equal(one, other) for one, other in pairs)
        check_entry(SPEC, torch.device("cpu"), copied)
    assert rebuilt(("reward", 3.0, None), [4.0]) == ("reward", 4.0, None)


def test_an_entry_says_how_many_decisions_or_values_it_has():
    assert [size_of(entry) for entry in (PACKED, BY_HEAD, VALUE, ("reward", 3.0, None))] == [4, 4, 300, 1]
