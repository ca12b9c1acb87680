"""Both verbs that use a log take its options, and name what is wrong with them before they wait for any server."""

import pytest

from esper_telemetry.commands.log_options import log_settings

URL = "tls://a.invalid:4222"
GIVEN = {"log_name": "night", "log_partitions": 4, "log_replicas": 1, "log_gib": 0.5}
NONE = dict.fromkeys(("log_credentials", "log_tls_ca", "log_tls_cert", "log_tls_key"))


def test_the_options_become_settings(tmp_path):
    file = tmp_path / "user.toml"
    file.write_text('user = "me"\npassword = "secret"\n')
    settings = log_settings(URL, {**GIVEN, **NONE, "log_credentials": file})
    assert (settings.names.stream, settings.partitions, settings.replicas) == ("night-log", 4, 1)
    assert (settings.max_bytes, settings.access.credentials, settings.encrypted) == (1 << 29, file, True)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("verb", [("collect",), ("collect", "--check"), ("consume", "--dir", "records")])
@pytest.mark.parametrize("option", ["--log-credentials", "--log-tls-ca"])
def test_a_file_that_cannot_be_used_is_told_before_anything_is_waited_for(tmp_path, cli, verb, option, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = cli(*verb, "--engine", URL, option, tmp_path / "gone.pem")
    assert refused.code in {1, 2}
    assert f"{option} {tmp_path / 'gone.pem'}: cannot be" in refused.err
    assert "waiting" not in refused.err
    assert not (tmp_path / "records").exists()
