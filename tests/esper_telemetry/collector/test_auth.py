import hashlib
from datetime import UTC, datetime

import pytest

from esper_telemetry.collector.auth import TokenFile, parse_grants
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import ConfigError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SECRET = hashlib.sha256(b"hashed-secret").hexdigest()
FILE = f"""
[tenant.vision]
run_prefix = "vision-"
max_streams = 2
bytes_per_s = 1000
max_run_bytes = 10
san = ["trainer.vision.example"]

[tenant.readers]

[[token]]
tenant = "vision"
token = "plain-secret"
expires = 2026-12-01T00:00:00Z

[[token]]
tenant = "readers"
sha256 = "{SECRET}"
may = ["read"]
"""


def reason(action, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value.reason


@pytest.fixture
def grants():
    return parse_grants(FILE, "tokens.toml")


def test_a_token_names_its_tenant_with_its_quotas(grants):
    tenant = grants.by_token("Bearer plain-secret", "write", NOW)
    assert (tenant.name, tenant.run_prefix, tenant.max_streams, tenant.bytes_per_s, tenant.max_run_bytes) == (
        "vision", "vision-", 2, 1000, 10,
    )  # fmt: skip
    assert grants.by_token("bearer  hashed-secret", "read", NOW).name == "readers"


@pytest.mark.parametrize("header", [None, "", "plain-secret", "Bearer ", "Bearer wrong", "Basic plain-secret"])
def test_no_token_and_a_wrong_one_are_refused(grants, header):
    assert reason(grants.by_token, header, "write", NOW) == "TOKEN"


def test_an_expired_token_is_refused(grants):
    assert reason(grants.by_token, "Bearer plain-secret", "write", datetime(2026, 12, 1, tzinfo=UTC)) == "TOKEN"


def test_a_token_gives_only_the_rights_it_lists(grants):
    assert reason(grants.by_token, "Bearer hashed-secret", "write", NOW) == "FORBIDDEN"


def test_a_tenant_may_use_runs_of_its_prefix_only(grants):
    tenant = grants.by_token("Bearer plain-secret", "write", NOW)
    tenant.check_run("vision-1")
    assert reason(tenant.check_run, "audio-1") == "FORBIDDEN"


def test_a_name_in_a_client_certificate_names_a_tenant(grants):
    assert grants.by_certificate(["x", "trainer.vision.example"]).name == "vision"
    assert grants.by_certificate(["x"]) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml", "no TOML"),
        ("[tenants.x]", "tenants is unknown"),
        ("[tenant.x]\nquota = 1", "quota is unknown"),
        ("[tenant.x]\nmax_streams = 'many'", "max_streams"),
        ("[tenant.x]\nmax_streams = -1", "max_streams"),
        ("[tenant.x]\nrun_prefix = 3", "run_prefix"),
        ("[tenant.x]\nsan = 'one'", "san"),
        ("[[token]]\ntoken = 't'", "tenant None"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'", "either token or sha256"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\nsha256 = 'zz'", "hex"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nmay = ['delete']", "delete"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nexpires = 'soon'", "no time"),
        ("token = 3", "token"),
        ("tenant = 3", "tenant"),
    ],
)
def test_a_file_that_says_what_there_is_not_is_refused_with_the_place(text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        parse_grants(text, "tokens.toml")
    assert "tokens.toml" in str(caught.value)


def test_without_a_file_there_is_nothing_to_check():
    assert TokenFile(None).grants is None
    assert not TokenFile(None).refresh()


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path):
    path = tmp_path / "tokens.toml"
    path.write_text(FILE)
    tokens = TokenFile(path)
    assert not tokens.refresh()
    replaced = tmp_path / "new"
    replaced.write_text(FILE.replace("plain-secret", "rotated"))
    replaced.replace(path)
    assert tokens.refresh()
    assert tokens.grants.by_token("Bearer rotated", "write", NOW).name == "vision"
    assert reason(tokens.grants.by_token, "Bearer plain-secret", "write", NOW) == "TOKEN"
    path.write_text("broken")
    assert tokens.refresh()
    assert "no TOML" in tokens.problem
    assert not tokens.refresh(), "said once"
    assert tokens.grants.by_token("Bearer rotated", "write", NOW).name == "vision"
    path.unlink()
    assert tokens.refresh()
    assert tokens.grants.by_token("Bearer rotated", "write", NOW).name == "vision"


def test_a_file_that_cannot_be_read_at_the_start_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenFile(tmp_path / "gone")
