from __future__ import annotations

import pytest
import torch

from esper.kasmina.blueprints import BLUEPRINTS, build_blueprint
from esper.simic.actions import BLUEPRINT_IDS
from esper.simic.heuristic import BLUEPRINT_ROTATION


@pytest.mark.parametrize("blueprint_id", BLUEPRINTS)
@pytest.mark.parametrize(("channels", "size"), [(8, 4), (16, 2), (32, 1), (6, 3)])
def test_every_blueprint_keeps_the_shape_and_lets_every_parameter_learn(blueprint_id, channels, size):
    seed = build_blueprint(blueprint_id, channels)
    features = torch.randn(5, channels, size, size)
    output = seed(features)
    assert output.shape == features.shape
    output.square().sum().backward() if blueprint_id != "noop" else None
    assert all(parameter.grad is not None for parameter in seed.parameters())


def test_noop_passes_everything_on_and_has_nothing_to_learn():
    seed = build_blueprint("noop", 8)
    features = torch.randn(2, 8, 4, 4)
    assert seed(features) is features
    assert not list(seed.parameters())


def test_attention_starts_near_the_identity():
    features = torch.randn(4, 16, 4, 4)
    assert torch.allclose(build_blueprint("attention", 16)(features), features, rtol=0.1, atol=0.01)


def test_conv_heavy_holds_two_convolutions_and_conv_light_one():
    count = {
        name: sum(isinstance(module, torch.nn.Conv2d) for module in build_blueprint(name, 8).modules())
        for name in ("conv_light", "conv_heavy")
    }
    assert count == {"conv_light": 1, "conv_heavy": 2}


def test_an_unknown_blueprint_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'conv'.*conv_light"):
        build_blueprint("conv", 8)


def test_both_policies_name_blueprints_that_exist_and_only_the_heuristic_knows_conv_heavy():
    assert set(BLUEPRINT_IDS) | set(BLUEPRINT_ROTATION) == set(BLUEPRINTS)
    assert set(BLUEPRINT_ROTATION) - set(BLUEPRINT_IDS) == {"conv_heavy"}
