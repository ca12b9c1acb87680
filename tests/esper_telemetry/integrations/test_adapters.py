"""What the adapters share, without any framework: values, decisions, updates, and what is said where one is missing."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import esper_telemetry as et
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.integrations.decisions import Decisions
from esper_telemetry.integrations.updates import emit_update
from esper_telemetry.integrations.values import scalar_values

FOLDER = Path(et.__file__).parent / "integrations"
ADAPTERS = {
    "sb3": "stable_baselines3",
    "torchrl": "torchrl",
    "lightning": "lightning",
    "hf": "transformers",
    "gymnasium": "gymnasium",
}
MOST_LINES = 60


def code_lines(path: Path) -> int:
    """Return the lines that hold code: no blank ones, comments, docstrings or imports."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
        if documented:
            text = node.body[0]
            skipped.update(range(text.lineno, text.end_lineno + 1))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            skipped.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(path.read_text().splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and at not in skipped for at, line in lines)


@pytest.mark.parametrize("name", [*ADAPTERS, "cleanrl"])
def test_an_adapter_is_short_enough_to_be_read_before_it_is_trusted(name):
    assert code_lines(FOLDER / f"{name}.py") <= MOST_LINES


@pytest.mark.parametrize(("name", "package"), ADAPTERS.items(), ids=ADAPTERS)
def test_a_missing_framework_names_its_pip_install(monkeypatch, name, package):
    real = builtins.__import__

    def without(module, *rest):
        if module.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(module, *rest)

    monkeypatch.delitem(sys.modules, f"esper_telemetry.integrations.{name}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"pip install 'esper-telemetry\[{name}\]'"):
        importlib.import_module(f"esper_telemetry.integrations.{name}")


def test_numbers_stay_texts_and_pictures_go_and_a_device_is_not_read():
    device = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    values = {
        "float": 0.5, "int": 3, "bool": True, "numpy": np.float32(0.25), "array": np.array([2.0]),
        "tensor": torch.tensor(1.5), "nan": float("nan"), "device": device,
        "text": "no", "many": np.zeros(3), "none": None, "list": [1],
    }  # fmt: skip
    found = scalar_values(values)
    assert list(found) == ["float", "int", "bool", "numpy", "array", "tensor", "nan", "device"]
    assert (found["numpy"], found["array"], found["tensor"]) == (0.25, 2.0, 1.5)
    assert found["device"] is device


def space(options: int):
    return type("Discrete", (), {"n": options})()


def test_decisions_with_and_without_masks_and_rows_that_were_none_are_counted(tmp_path):
    with et.start_run(tmp_path, name="d") as run:
        decisions = Decisions(run, space(3))
        decisions.add(np.array([0, 1]), np.array([[1, 1, 0], [1, 1, 1]], bool))
        decisions.add(np.array([2, 2]), None)
        decisions.add(np.array([1, 1]), np.array([[1, 1, 0], [0, 0, 0]], bool), np.array([True, False]))
        decisions.flush(7)
        decisions.flush(8)  # nothing more to count
    events = {event.type: event.data for event in et.read(run.folder)}
    assert events["policy.action_distribution"]["action_counts"] == {"0": 1, "1": 2, "2": 2}
    (head,) = events["policy.mask_hit_rates"]["heads"]
    assert head["masked"] == [0, 0, 2]
    assert events["counters.checked"]["invalid_rows"] == 1
    assert events["counters.checked"]["batch_idx"] == 7


def test_continuous_actions_have_nothing_to_count(tmp_path):
    with et.start_run(tmp_path, name="d") as run:
        decisions = Decisions(run, type("Box", (), {})())
        decisions.add(np.zeros((2, 3)))
        decisions.flush(1)
    assert [event.type for event in et.read(run.folder)] == ["run.started", "run.finished"]


def test_a_library_s_names_become_the_fields_of_an_update(tmp_path):
    with et.start_run(tmp_path, name="u") as run:
        at = run.bind(batch_idx=1)
        values = {"policy_gradient_loss": -0.1, "entropy_loss": -1.5, "approx_kl": np.float32(0.5), "n_updates": 10}
        emit_update(at, values, on_policy=True)
        emit_update(at, {"loss": 2.0, "learning_rate": 1e-3}, on_policy=False, exploration_rate=0.5)
    _, on, off, _ = et.read(run.folder)
    assert on.data == {"policy_loss": -0.1, "entropy": 1.5, "kl_divergence": 0.5, "total_updates": 10, "batch_idx": 1}
    assert off.data == {"critic_loss": 2.0, "lr": 1e-3, "exploration_rate": 0.5, "batch_idx": 1}
