"""The golden run: both loops, for real; every event type that a schema declares must have fired in their records.

Types that need a failure get one injected. There is no list of exemptions, and none may be made.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest
import torch

import esper.v1
import esper_telemetry.v1
from esper.simic.config import PpoConfig
from esper.simic.training import HeuristicConfig, train_heuristic
from esper.simic.vectorized import VectorizedTrainer
from esper.tasks import load_task
from esper.telemetry import TelemetryEvent, TelemetryEventType, get_hub, open_hub
from esper_telemetry import read
from esper_telemetry.schema import event_classes, event_type

SMALL = PpoConfig(batches=2, n_envs=2, max_epochs=12, hidden=16)


def declared():
    """Every event type of every schema in the tree, by short name."""
    found = {}
    for package in (esper_telemetry.v1, esper.v1):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_pb2"):
                classes = event_classes(import_module(f"{package.__name__}.{module.name}"))
                found |= {event_type(cls).name: event_type(cls) for cls in classes}
    return found


def heuristic(folder):
    config = HeuristicConfig(episodes=1, max_epochs=75)
    with open_hub(folder, name="heuristic") as hub:
        hub.run.update_config(config)  # late, as frameworks hand it over
        train_heuristic(load_task("digits"), config)
    return hub.run


def ppo(folder, *, level="normal", step_blocks=False, inject=lambda _trainer: None):
    with open_hub(folder, name="ppo", level=level, step_blocks=step_blocks) as hub:
        trainer = VectorizedTrainer({"cpu": load_task("synthetic")}, SMALL, telemetry_enabled=level != "off")
        inject(trainer)
        list(trainer.train())
    return hub.run


def failures(trainer):
    """A host that breaks in the first batch, a sick update in the second, and an event that cannot be recorded."""
    made, learn = trainer._new_episode, trainer.agent.learn

    def new_episode(env_id):
        episode = made(env_id)
        if trainer.global_epoch == 1 and env_id == 1:
            episode.environment.model.register_forward_hook(lambda model, _in, out: out * broken_at(4, episode))
        return episode

    def broken_at(epoch, episode):
        return float("nan") if episode.environment.inner_epoch == epoch else 1.0

    def sick(entropy_coef):
        bad = {"name": "what a careless user logs", "value": torch.ones(1)}
        get_hub().emit(TelemetryEvent(TelemetryEventType.SCALAR_LOGGED, bad))
        get_hub().run.flush()  # a loss in the last moment of a run is told by its last event alone
        update = learn(entropy_coef)
        update.metrics["ratio_max"] = 50.0
        return update

    trainer._new_episode, trainer.agent.learn = new_episode, sick


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "heuristic": heuristic(folder),
        "ppo": ppo(folder),
        "failing": ppo(folder, inject=failures),
        "blocks": ppo(folder, step_blocks=True),
        "off": ppo(folder, level="off"),
    }
    torch.set_num_threads(before)
    return made


@pytest.fixture(scope="module")
def events(runs):
    return [event for run in runs.values() for event in read(run.folder, expand=False)]


# Of the SDK, and not of these loops: other trainers' events (test_other_trainers.py), what is said in a call of its own
# (test_shorthand.py and its neighbours), what the command line reports (test_ppo.py), and what comes with time.
ELSEWHERE = {
    "run.resumed",
    "stream.finished",
    "telemetry.clock_reanchored",
    "telemetry.dropped",
    "rollout.completed",
    "eval.completed",
    "off_policy.update_completed",
    "scalars.logged",
    "text.logged",
    "artifact.logged",
    "checkpoint.saved",
    "checkpoint.loaded",
    "run.heartbeat",
    "system.sampled",
}


def test_every_declared_event_type_fired(events):
    assert set(declared()) > ELSEWHERE
    assert set(declared()) - {event.type for event in events} <= ELSEWHERE


def test_nothing_fired_that_is_not_declared(events):
    assert {event.type for event in events} - set(declared()) == set()


def test_no_event_lacks_its_required_context(events):
    types = declared()
    for event in events:
        missing = {name for name in types[event.type].requires if not event.context.HasField(name)}
        assert not missing, event


def test_nothing_was_lost_where_no_failure_was_injected(runs):
    assert {name: run.stats().dropped for name, run in runs.items()} == {
        "heuristic": 0,
        "ppo": 0,
        "failing": 1,
        "blocks": 0,
        "off": 0,
    }


def test_every_seed_has_one_fate(runs):
    fates = {"seed.culled", "seed.fossilized", "seed.ended"}
    for name in ("heuristic", "ppo", "failing", "blocks"):
        seen = list(read(runs[name].folder, types="seed.*"))
        born = {event.data["seed_id"] for event in seen if event.type == "seed.germinated"}
        ended = [event.data["seed_id"] for event in seen if event.type in fates]
        assert sorted(born) == sorted(ended), name


def test_the_run_without_telemetry_says_so_and_no_more(runs):
    types = [event.type for event in read(runs["off"].folder)]
    assert types == ["run.started", "telemetry.disabled", "run.finished"]


LIFECYCLE = ("seed.germinated", "seed.stage_changed", "seed.gate_evaluated", "seed.blend_progressed", "seed.fossilized")
HEADS = ("op", "slot", "blueprint", "blend")
# The plan's tasks: types → context of every event of them, and fields that such an event has.
PLAN = {
    "1 lifecycle only": (("telemetry.disabled",), (), ("level", "lifecycle_only", "reason", "message")),
    "2 environment of lifecycle events": ((*LIFECYCLE, "seed.culled"), ("env_id", "device"), ("slot_id",)),
    "2 environment of rollbacks": (("governor.panicked", "governor.rolled_back"), ("env_id", "device"), ("reason",)),
    "3 alpha and epochs": (("seed.stage_changed",), ("inner_epoch", "global_epoch"), ("alpha", "epochs_in_stage")),
    "3 epochs": (
        ("epoch.completed",),
        ("env_id", "device", "inner_epoch", "global_epoch"),
        ("val_loss", "val_accuracy"),
    ),
    "4 last action": (
        ("policy.action_taken",),
        ("env_id", "inner_epoch"),
        ("op", "slot_id", "blueprint_id", "blend_id", "action_success", *(f"{head}_masked" for head in HEADS)),
    ),
    "5 vitals of the update": (
        ("ppo.update_completed",),
        ("batch_idx", "episodes_completed", "inner_epoch"),
        ("policy_loss", "lr", "grad_norm", "update_time_ms"),
    ),
    "6 action distribution": (
        ("policy.action_distribution",),
        ("batch_idx", "episodes_completed"),
        ("action_counts", "success_counts"),
    ),
    "7 counterfactuals": (("counterfactual.computed",), ("env_id",), ("slot_id", "available", "reason")),
    "8 throughput": (
        ("perf.throughput",),
        ("env_id", "batch_idx", "episodes_completed"),
        ("step_time_ms", "dataloader_wait_ms", "fps"),
    ),
    "9 rewards": (("reward.summary",), ("env_id", "batch_idx"), ("summary",)),
    "10 mask hit rates": (
        ("policy.mask_hit_rates",),
        ("batch_idx", "episodes_completed"),
        ("mask_hits", "mask_total"),
    ),
    "batches": (("batch.completed",), ("batch_idx", "episodes_completed"), ("mean_accuracy", "env_accuracies")),
}


@pytest.mark.parametrize("task", PLAN)
def test_what_a_task_of_the_plan_asks_for_stands_in_the_record(task, events):
    types, context, fields = PLAN[task]
    for name in types:
        found = [event for event in events if event.type == name]
        assert found, f"no {name}"
        for event in found:
            assert not [key for key in context if not event.context.HasField(key)], event
        assert any(event.data.keys() >= set(fields) for event in found), f"no {name} has all of {fields}"
