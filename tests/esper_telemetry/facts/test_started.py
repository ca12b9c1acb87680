"""What RunStarted says about program, machine and source tree, and that no fact of it can stop a run."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata

import google.protobuf
import pytest

from esper_telemetry.facts import Redaction, configuration, run_configured, run_started
from esper_telemetry.schema import MAX_EVENT_BYTES


def configured(config):
    return run_started("a", "r", configuration(config, Redaction()))


def test_equal_configurations_have_equal_hashes():
    one, two = configured({"lr": 1e-3, "layers": [1, 2]}), configured({"layers": (1, 2), "lr": 0.001})
    assert one.config_sha256 == two.config_sha256
    assert len(one.config_sha256) == 64


def test_no_configuration_is_not_an_empty_one():
    assert not run_started("a", "r").HasField("config_json")
    assert configured({}).config_json == "{}"


def test_program_python_and_machine_are_named():
    started = run_started("a", "r", tags={"k": "1"})
    assert list(started.argv) == sys.argv
    assert started.versions[0].name == "python"
    assert started.host.cpu_count >= 1
    assert dict(started.tags) == {"k": "1"}


@pytest.mark.parametrize(
    ("argv", "recorded"),
    [
        (["a", "\udce9", "nul\0"], ["a", r"\xe9", "nul\0"]),
        (["a", 3, None], ["a", "3", "None"]),
        (("a",), ["a"]),
        ("a b", ["a b"]),
        (None, []),
        (["--token", "secret"], ["--token", "[redacted]"]),
    ],
)
def test_whatever_stands_in_argv_the_run_starts(monkeypatch, argv, recorded):
    monkeypatch.setattr(sys, "argv", argv)
    assert list(run_started("a", "r").argv) == recorded


def test_a_program_without_argv_has_none(monkeypatch):
    monkeypatch.delattr(sys, "argv")
    assert list(run_started("a", "r").argv) == []


def test_a_command_line_is_bounded_and_left_out_where_it_is_not_wanted(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x" * 10_000] * 1000)
    started = run_started("a", "r")
    assert len(started.argv[0].encode()) == 4096
    assert started.argv[-1] == f"<cut: {1000 - len(started.argv) + 1:,} more>"
    assert started.ByteSize() < 80_000
    assert list(run_started("a", "r", argv=False).argv) == []


def fails(*_):
    raise UnicodeDecodeError("ascii", b"\xff", 0, 1, "no host name")


@pytest.mark.parametrize("name", ["node", "system", "python_version"])
def test_a_fact_that_cannot_be_had_is_left_out_alone(monkeypatch, name):
    monkeypatch.setattr(platform, name, fails)
    started = run_started("a", "r")
    assert started.name == "a"
    assert (started.host.hostname == "") == (name == "node")
    assert (started.host.os == "") == (name == "system")
    assert started.versions[0].version.startswith(f"3.{sys.version_info.minor}.")


def test_a_package_with_broken_metadata_is_left_out(monkeypatch):
    known = metadata.version

    def version(package):
        return fails() if package == "torch" else known(package)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    names = [package.name for package in run_started("a", "r").versions]
    assert "torch" not in names
    assert "zstandard" in names


def test_the_version_of_a_package_is_that_of_what_is_loaded(monkeypatch):
    monkeypatch.setattr(google.protobuf, "__version__", "6.30.9-ours")
    found = {package.name: package.version for package in run_started("a", "r").versions}
    assert found["protobuf"] == "6.30.9-ours"
    assert found["zstandard"] == metadata.version("zstandard")


def test_a_working_directory_that_is_gone_has_no_source_tree(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert not run_started("a", "r").HasField("git")


def test_a_source_tree_that_cannot_be_read_is_left_out(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".git" / "HEAD").unlink()
    (tmp_path / ".git" / "HEAD").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    assert not run_started("a", "r").HasField("git")


def test_a_configuration_over_the_limit_is_cut_and_the_event_fits():
    config = {"lr": 0.1, "files": ["x" * 60] * 20_000, "more": {str(n): n for n in range(50_000)}}
    started = configured(config)
    assert started.ByteSize() <= MAX_EVENT_BYTES
    assert started.ByteSize() > MAX_EVENT_BYTES * 3 / 4
    assert '"lr":0.1' in started.config_json
    assert started.config_bytes > 1_200_000


def test_many_secrets_are_named_by_the_first():
    config = configuration({f"n{number}": {"token": "x"} for number in range(1000)}, Redaction())
    assert len(run_configured(config, config).redacted) == 201
    assert run_configured(config, config).redacted[-1] == "config: 800 more"


def test_a_later_configuration_carries_the_update_and_the_hash_of_the_whole():
    first = configuration({"lr": 0.1}, Redaction())
    update = configuration({"seed": 1, "hf_token": "x"}, Redaction())
    message = run_configured(update, first.merged(update))
    assert message.config_json == '{"hf_token":"[redacted]","seed":1}'
    assert message.config_sha256 == configured({"lr": 0.1, "seed": 1, "hf_token": "y"}).config_sha256
    assert list(message.redacted) == ["config.hf_token"]
