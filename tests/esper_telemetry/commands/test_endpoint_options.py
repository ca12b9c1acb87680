"""One set of options for every verb that talks to a collector."""

import importlib

import click
import pytest

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.uplink.endpoint import Endpoint

VERBS = {"push": "push", "tail": "tail", "health": "health", "runs list": "runs", "runs delete": "runs"}


def found(verb: str) -> click.Command:
    command = importlib.import_module(f"esper_telemetry.commands.{VERBS[verb]}").command
    return command.commands[verb.split()[1]] if " " in verb else command


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_all_of_them(verb):
    names = {name for option in found(verb).params for name in option.opts}
    assert names >= {"--token-file", "--tls", "--tls-ca", "--tls-cert", "--tls-key"}


def test_what_is_given_is_what_an_endpoint_takes(tmp_path):
    (tmp_path / "pem").write_text("x")

    @click.command
    @endpoint_options
    def command(**security):
        return security

    arguments = [f"--tls-{name}={tmp_path / 'pem'}" for name in ("ca", "cert", "key")]
    security = command.main([*arguments, "--tls"], standalone_mode=False)
    assert Endpoint("localhost:1", **security) == Endpoint(
        "localhost:1", tls=True, **{f"tls_{name}": str(tmp_path / "pem") for name in ("ca", "cert", "key")}
    )


def test_a_file_that_is_not_there_is_a_wrong_use(cli):
    for option in ("--token-file", "--tls-ca", "--tls-cert", "--tls-key"):
        finished = cli("health", "localhost:1", option, "gone")
        assert (finished.code, "does not exist" in finished.err) == (2, True)
