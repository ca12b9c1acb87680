"""What RunStarted says about program, machine and source tree."""

import subprocess
import sys

import pytest

from esper_telemetry import errors
from esper_telemetry.facts.started import canonical_json, run_started


def test_equal_configurations_have_equal_hashes():
    one = run_started("a", "r", {"lr": 1e-3, "layers": [1, 2]}, None)
    two = run_started("b", "s", {"layers": [1, 2], "lr": 0.001}, None)
    assert one.config_sha256 == two.config_sha256
    assert len(one.config_sha256) == 64


def test_no_configuration_is_not_an_empty_one():
    assert not run_started("a", "r", None, None).HasField("config_json")
    assert run_started("a", "r", {}, None).config_json == "{}"


def test_values_json_does_not_know_become_text(tmp_path):
    assert canonical_json({"path": tmp_path}) == f'{{"path":"{tmp_path}"}}'


def test_a_configuration_that_contains_itself_is_refused():
    loop = {}
    loop["self"] = loop
    with pytest.raises(errors.ConfigError, match="config cannot be written as JSON"):
        canonical_json(loop)


def test_program_python_and_machine_are_named():
    started = run_started("a", "r", None, {"k": 1})
    assert list(started.argv) == sys.argv
    assert started.versions[0].name == "python"
    assert started.host.cpu_count >= 1
    assert dict(started.tags) == {"k": "1"}


def test_commit_and_branch_are_read_from_the_source_tree(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q", "-b", "trunk"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    loose = run_started("a", "r", None, None).git
    assert (loose.commit, loose.branch) == (commit, "trunk")
    subprocess.run([*git, "pack-refs", "--all"], check=True)
    assert run_started("a", "r", None, None).git.commit == commit
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    detached = run_started("a", "r", None, None).git
    assert (detached.commit, detached.branch) == (commit, "")
