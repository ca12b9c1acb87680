"""The command as a whole: help, errors, exit codes, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import import_module, metadata
from keyword import iskeyword

import click
import pytest

from esper_telemetry.commands.group import VERBS


def test_help_lists_every_verb(cli):
    finished = cli("--help")
    assert finished.code == 0
    assert all(f"\n  {verb} " in finished.out for verb in VERBS)
    assert cli("-h").out == finished.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_module_with_help_of_its_own(cli, verb):
    module = f"{verb}_" if iskeyword(verb) else verb
    assert isinstance(import_module(f"esper_telemetry.commands.{module}").command, click.Command)
    finished = cli(verb, "--help")
    assert finished.code == 0
    assert f"Usage: esper-telemetry {verb} " in finished.out


def test_the_version_is_that_of_the_distribution(cli):
    assert cli("--version").out.split()[-1] == metadata.version("esper-telemetry")


def test_an_unknown_verb_or_option_is_a_usage_error(cli):
    for arguments in (["nonsense"], ["cat"], ["cat", "--nonsense", "x"], ["cat", "--env", "a", "x"]):
        finished = cli(*arguments)
        assert finished.code == 2
        assert "Usage: esper-telemetry" in finished.err
        assert not finished.out


def test_a_failure_is_one_line_on_stderr(cli, tmp_path):
    finished = cli("cat", tmp_path / "nothing")
    assert finished.code == 1
    assert finished.err == f"error: {tmp_path / 'nothing'}: there is no such file or folder; check the path\n"


def test_without_click_the_command_says_what_to_install():
    code = """
        import sys
        sys.modules["click"] = None
        from esper_telemetry.commands import main
        sys.exit(main(["info", "x"]))
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: ")
    assert "pip install 'esper-telemetry[cli]'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_verb_imports_no_other_verb_and_nothing_heavy(record_run):
    code = f"""
        import sys
        from esper_telemetry.commands import main
        main(["info", {str(record_run())!r}])
        print(sorted(sys.modules), file=sys.stderr)
    """
    finished = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    loaded = set(eval(finished.stderr))  # noqa: S307 - our own output
    assert not loaded & {"torch", "grpc", "numpy", "esper", "esper_telemetry.commands.cat"}


def test_a_reader_that_has_had_enough_is_no_error(record_run):
    command = [sys.executable, "-m", "esper_telemetry", "cat", str(record_run(_many))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def _many(run) -> None:
    from esper_telemetry.v1 import training_pb2

    for number in range(5_000):
        run.emit(training_pb2.ScalarLogged, name="n", value=number / 3)


def test_an_address_where_a_file_belongs_is_told_which_verbs_take_it(cli):
    for address in ("localhost:7575", "localhost:7575/run"):
        finished = cli("cat", address)
        assert finished.code == 1
        assert "`tail`, `watch`, `top` and `ui` read a run from a collector" in finished.err
