"""How RunConfigured adds to a configuration."""

from esper_telemetry.schema import merged


def test_objects_are_merged_name_by_name_and_other_values_replaced():
    below = {"lr": 0.1, "optim": {"name": "adam", "betas": [0.9, 0.99]}, "seed": 1}
    above = {"lr": 0.2, "optim": {"betas": [0.5]}, "seed": {"data": 2}}
    assert merged(below, above) == {"lr": 0.2, "optim": {"name": "adam", "betas": [0.5]}, "seed": {"data": 2}}
    assert below["optim"]["betas"] == [0.9, 0.99], "what was merged is not changed"
