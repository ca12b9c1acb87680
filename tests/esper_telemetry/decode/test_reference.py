"""The event reference of a record says what its .proto files said."""

from __future__ import annotations

import pytest

from esper_telemetry.decode import record_reference


@pytest.fixture
def reference(record_run):
    return record_reference(record_run().iterdir())


def test_an_event_has_its_policy_and_its_comment(reference):
    culled = reference.events["seed.culled"]
    assert (culled.level, culled.shedding) == ("lifecycle", "never")
    assert culled.requires == ("env_id", "device", "inner_epoch", "global_epoch")
    assert culled.message.full_name == "esper.v1.SeedCulled"
    assert culled.message.comment == "A seed was discarded."


def test_a_field_has_type_unit_range_kind_and_comment(reference):
    fields = {field.name: field for field in reference.events["epoch.completed"].message.fields}
    accuracy = fields["val_accuracy"]
    assert (accuracy.type, accuracy.unit, accuracy.minimum, accuracy.maximum) == ("double", "%", 0, 100)
    assert (accuracy.kind, accuracy.goal, accuracy.optional) == ("GAUGE", "MAXIMIZE", True)
    assert accuracy.comment == "Validation accuracy after the epoch."
    assert fields["train_loss"].minimum is None


def test_lists_maps_messages_and_enums_are_named_and_described(reference):
    types = {
        f"{name}.{field.name}": field.type for name, event in reference.events.items() for field in event.message.fields
    }
    assert types["policy.action_distribution.action_counts"] == "map<string, uint64>"
    assert types["ppo.update_completed.heads"] == "repeated HeadStats"
    assert types["seed.culled.from_stage"] == "SeedStage"
    heads = reference.messages["esper_telemetry.v1.HeadStats"]
    assert heads.comment == "Statistics of one policy head over an update."
    stages = reference.enums["esper.v1.SeedStage"]
    assert (7, "FOSSILIZED", "Part of the host for good.") in stages.values
    reasons = reference.enums["esper.v1.UnavailableReason"]
    assert "missing_baseline" in [name for _, name, _ in reasons.values]
    assert reference.messages["esper_telemetry.v1.Context"].fields[0].name == "env_id"


def test_every_event_field_and_value_of_ours_has_a_comment(reference):
    events = list(reference.events.values())
    assert {"epoch.completed", "policy.action_distribution", "ppo.update_completed"} <= reference.events.keys()
    messages = [*(event.message for event in events), *reference.messages.values()]
    ours = [message for message in messages if message.full_name.startswith("esper")]
    assert not [message.full_name for message in ours if not message.comment]
    assert not [f"{message.full_name}.{f.name}" for message in ours for f in message.fields if not f.comment]
    enums = [enum for name, enum in reference.enums.items() if name != "esper_telemetry.v1.Level"]  # of options.proto
    assert not [name for enum in enums for _, name, comment in enum.values if not comment]
