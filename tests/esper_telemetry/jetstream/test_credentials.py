"""One file, told apart by what it holds; a file that holds nothing is named, and no secret is ever shown."""

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.jetstream.credentials import LogAccess, secrets_in
from esper_telemetry.jetstream.deployment import LogSettings
from tests.esper_telemetry.collector.certificate_files import make_certificate

SEED = "SU" + "A" * 56


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('user = "me"\npassword = "secret"\n', {"user": "me", "password": "secret"}),
        ('# of the log\ntoken = "secret"\n', {"token": "secret"}),
        (SEED, {"nkeys_seed_str": SEED}),
        (f"# public key: U...\n  {SEED}  \n", {"nkeys_seed_str": SEED}),
    ],
)
def test_a_file_is_told_by_what_it_holds(tmp_path, text, found):
    (tmp_path / "file").write_text(text)
    assert secrets_in(tmp_path / "file") == found


def test_a_creds_file_is_left_to_the_library(tmp_path):
    path = tmp_path / "file"
    path.write_text("-----BEGIN NATS USER JWT-----\ne30\n------END NATS USER JWT------\n" + SEED)
    assert secrets_in(path) == {"user_credentials": str(path)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        'user = "me"',
        'user = "me"\npassword = ""',
        'token = "secret"\nuser = "me"',
        "token = 7",
        SEED[:-1],
    ],
)
def test_a_file_that_holds_something_else_is_named_without_what_it_holds(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ConfigError, match=r"--log-credentials .*file: holds no credentials; it may be a NATS") as told:
        secrets_in(tmp_path / "file")
    assert "secret" not in str(told.value)


def test_files_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--log-credentials .*gone: cannot be read"):
        secrets_in(tmp_path / "gone")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"--log-credentials .*bytes: cannot be read"):
        secrets_in(tmp_path / "bytes")
    certificate, key = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "other")
    with pytest.raises(ConfigError, match=r"--log-tls-ca .*bytes: cannot be used"):
        LogAccess(ca=tmp_path / "bytes").context()
    with pytest.raises(ConfigError, match="--log-tls-cert and --log-tls-key go together"):
        LogAccess(certificate=certificate).context()
    with pytest.raises(ConfigError, match=r"--log-tls-cert .*cannot be used: .*belong together"):
        LogAccess(certificate=certificate, key=other).context()
    assert LogAccess(ca=certificate, certificate=certificate, key=key).context()


def test_a_user_is_stated_once(tmp_path):
    access = LogAccess(credentials=tmp_path / "file")
    with pytest.raises(ConfigError, match="--log-credentials and a user in the URL"):
        LogSettings.of("nats://me:secret@a:4222", "esper", 8, 3, 16, access=access)
    assert not LogSettings.of("nats://a:4222", "esper", 8, 3, 16, access=access).encrypted
    assert LogSettings.of("tls://a:4222", "esper", 8, 3, 16).encrypted
    assert LogSettings.of("nats://a:4222", "esper", 8, 3, 16, access=LogAccess(ca=tmp_path)).encrypted
