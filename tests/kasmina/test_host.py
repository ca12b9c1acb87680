from __future__ import annotations

import torch

from esper.kasmina.host import SLOT_IDS, GrowingHost


def host(seed=7):
    return GrowingHost(1, 10, channels=(8, 16, 32), seed=seed)


def test_it_classifies_and_has_a_slot_after_each_block():
    model = host()
    assert model(torch.randn(5, 1, 8, 8)).shape == (5, 10)
    assert tuple(model.seed_slots) == SLOT_IDS
    assert [slot.channels for slot in model.seed_slots.values()] == [8, 16, 32]


def test_equal_seeds_give_equal_hosts_whatever_was_drawn_in_between():
    first = host()
    torch.rand(100)
    second = host()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = host(seed=8)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_building_one_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    host()
    assert torch.equal(torch.rand(3), expected)


def test_parameters_of_seeds_are_counted_apart_and_only_in_the_forward_pass():
    model = host()
    before = model.host_params()
    assert before == sum(parameter.numel() for parameter in model.parameters())
    slot = model.seed_slots["mid"]
    slot.germinate("norm", blend_id="linear", seed_id="s1", random_seed=1)
    assert (model.host_params(), model.seed_params()) == (before, 0)
    slot.advance()
    assert (model.host_params(), model.seed_params()) == (before, 2 * 16)
