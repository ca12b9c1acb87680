"""A configuration is refused in one clear line, or is what it says."""

import pytest

from esper.simic.config import PpoConfig, PpoConfigError


def test_the_defaults_are_those_of_the_design():
    config = PpoConfig()
    assert (config.n_envs, config.max_epochs, config.gamma, config.lam, config.lr) == (4, 25, 0.995, 0.97, 3e-4)
    assert (config.clip, config.value_coef, config.max_grad_norm, config.target_kl) == (0.2, 0.5, 0.5, 0.015)
    assert (config.entropy_start, config.entropy_end, config.hidden) == (0.05, 0.01, 128)


def test_an_unknown_key_is_named_with_the_one_that_was_meant():
    with pytest.raises(PpoConfigError, match=r"unknown config key 'n_env': did you mean 'n_envs'\?"):
        PpoConfig.from_mapping({"n_env": 4})


def test_a_key_like_none_lists_all():
    with pytest.raises(PpoConfigError, match=r"unknown config key 'zzz': the keys are batches, n_envs"):
        PpoConfig.from_mapping({"zzz": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batches", 0),
        ("n_envs", 2.5),
        ("max_epochs", True),
        ("seed", -1),
        ("gamma", 1.5),
        ("lam", "0.9"),
        ("lr", 0.0),
        ("clip", float("nan")),
        ("value_coef", -0.1),
        ("policy", "best"),
        ("counterfactual", "sometimes"),
        ("slots", ["early", "attic"]),
        ("slots", []),
        ("slots", "mid"),
        ("devices", []),
        ("devices", "cpu"),
        ("devices", ["cpu", "cpu"]),
    ],
)
def test_a_value_that_cannot_be_used_is_named(key, value):
    with pytest.raises(PpoConfigError, match=rf"{key} is .*: it must be"):
        PpoConfig.from_mapping({key: value})


def test_a_configuration_survives_as_plain_values():
    config = PpoConfig(slots=("mid",), devices=("cpu", "cpu:0"), lr=1e-3)
    assert config.to_mapping()["slots"] == ["mid"]
    assert PpoConfig.from_mapping(config.to_mapping()) == config


@pytest.mark.parametrize(("batch", "weight"), [(1, 0.05), (51, 0.03), (101, 0.01), (500, 0.01)])
def test_the_entropy_bonus_falls_evenly_and_stays(batch, weight):
    assert PpoConfig().entropy_coef(batch) == pytest.approx(weight)
