"""`completion`: the script of each shell, and what it gets to offer."""

from __future__ import annotations

import subprocess

import pytest

from esper_telemetry.commands.group import VERBS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_script(cli, shell):
    finished = cli("completion", shell)
    assert finished.code == 0
    assert "_ESPER_TELEMETRY_COMPLETE" in finished.out
    assert cli("completion", "tcsh").code == 2


def test_the_bash_script_is_bash(cli):
    script = cli("completion", "bash").out
    assert subprocess.run(["bash", "-n"], input=script.encode(), check=False).returncode == 0


def test_verbs_and_options_are_offered(cli):
    def offered(words):
        known = {"_ESPER_TELEMETRY_COMPLETE": "bash_complete", "COMP_WORDS": words}
        found = cli(COMP_CWORD=str(len(words.split()) - 1), **known)
        return {line.partition(",")[2] for line in found.lines}

    assert offered("esper-telemetry c") == {verb for verb in VERBS if verb.startswith("c")}
    assert offered("esper-telemetry cat --ti") == {"--time-format"}
    assert offered("esper-telemetry cat --time-format l") == {"local"}
