from __future__ import annotations

import math

import pytest
import torch

from esper.kasmina.blending import BLENDS, build_blend, straight_through

STEPS = [step / 5 for step in range(6)]


@pytest.mark.parametrize("blend_id", BLENDS)
def test_every_schedule_rises_from_zero_to_exactly_one(blend_id):
    alphas = [build_blend(blend_id, 8).alpha_at(step) for step in STEPS]
    assert alphas == sorted(set(alphas))
    assert (alphas[0], alphas[-1]) == (0.0, 1.0)


def test_the_sigmoid_is_the_formula_between_its_ends():
    assert build_blend("sigmoid", 8).alpha_at(0.4) == pytest.approx(1 / (1 + math.exp(-12 * (0.4 - 0.5))))


@pytest.mark.parametrize("blend_id", ["linear", "sigmoid"])
@pytest.mark.parametrize(("alpha", "expected"), [(0.25, 1.25), (1.0, 2.0)])
def test_a_mix_lies_between_host_and_seed(blend_id, alpha, expected):
    host, seed = torch.ones(2, 8, 4, 4), torch.full((2, 8, 4, 4), 2.0)
    assert torch.equal(build_blend(blend_id, 8)(host, seed, alpha), torch.full_like(host, expected))


def test_a_gate_opens_per_image_and_learns_while_the_schedule_moves_alpha():
    blend = build_blend("gated", 8)
    host, seed = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    mixed = blend(host, seed, 0.5)
    weight = 0.5 * torch.sigmoid(torch.tensor(2.0))
    assert torch.allclose(mixed, torch.lerp(host, seed, weight))
    mixed.square().sum().backward()
    assert blend.gate.bias.grad.abs() > 0


def test_an_unknown_blend_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'cosine'.*sigmoid"):
        build_blend("cosine", 8)


def test_straight_through_keeps_the_value_and_gives_both_the_gradient():
    host = torch.randn(3, 2, requires_grad=True)
    seed = torch.randn(3, 2, requires_grad=True)
    mixed = straight_through(host, seed)
    assert torch.equal(mixed, host)
    mixed.backward(torch.full((3, 2), 7.0))
    assert torch.equal(host.grad, torch.full((3, 2), 7.0))
    assert torch.equal(seed.grad, host.grad)


def test_straight_through_keeps_the_value_even_if_the_seed_is_not_a_number():
    host = torch.randn(3, 2)
    assert torch.equal(straight_through(host, torch.full((3, 2), float("nan"))), host)
