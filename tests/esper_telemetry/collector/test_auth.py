import contextlib
import hashlib
from datetime import UTC, datetime
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.collector.auth import EVERYBODY, Caller, TokenFile, parse_grants
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


def tenant_of(grants, header, right="write", now=NOW, names=()):
    return Caller(header, tuple(names), right).tenant(grants, now)


@pytest.fixture
def grants():
    return parse_grants(FILE, "tokens.toml")


def test_a_token_names_its_tenant_with_its_quotas(grants):
    tenant = tenant_of(grants, "Bearer plain-secret", "write")
    assert (tenant.name, tenant.run_prefix, tenant.max_streams, tenant.bytes_per_s, tenant.max_run_bytes) == (
        "vision", "vision-", 2, 1000, 10,
    )  # fmt: skip
    assert tenant_of(grants, "bearer  hashed-secret", "read").name == "readers"


@pytest.mark.parametrize("header", [None, "", "plain-secret", "Bearer ", "Bearer wrong", "Basic plain-secret"])
def test_no_token_and_a_wrong_one_are_refused(grants, header):
    assert reason(tenant_of, grants, header, "write", NOW) == "TOKEN"


def test_an_expired_token_is_refused(grants):
    assert reason(tenant_of, grants, "Bearer plain-secret", "write", datetime(2026, 12, 1, tzinfo=UTC)) == "TOKEN"


def test_a_token_gives_only_the_rights_it_lists(grants):
    assert reason(tenant_of, grants, "Bearer hashed-secret", "write", NOW) == "FORBIDDEN"


def test_a_tenant_may_use_runs_of_its_prefix_only(grants):
    tenant = tenant_of(grants, "Bearer plain-secret", "write")
    tenant.check_run("vision-1")
    assert reason(tenant.check_run, "audio-1") == "FORBIDDEN"


def test_a_name_in_a_client_certificate_names_a_tenant(grants):
    assert tenant_of(grants, None, names=["x", "trainer.vision.example"]).name == "vision"
    assert reason(tenant_of, grants, None, "write", NOW, ["x"]) == "TOKEN"
    assert tenant_of(grants, "Bearer plain-secret", names=["x"]).name == "vision"


def test_a_certificate_has_the_rights_that_its_tenant_lists():
    grants = parse_grants('[tenant.x]\nsan = ["x.example"]\nmay = ["read"]', "tokens.toml")
    assert tenant_of(grants, None, "read", names=["x.example"]).name == "x"
    assert reason(tenant_of, grants, None, "write", NOW, ["x.example"]) == "FORBIDDEN"


def test_without_grants_everybody_may_call():
    assert tenant_of(None, None) is EVERYBODY


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
        ("[[token]]\ntoken = 't'", "tenant ''"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'", "either token or sha256"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\nsha256 = 'zz'", "hex"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nmay = ['fly']", "fly"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nexpires = 'soon'", "no time"),
        ("[tenant.x]\nmax_streams = true", "max_streams"),
        ("[tenant.x]\nmax_streams = 1.5", "max_streams"),
        ("[tenant.x]\nbytes_per_s = nan", "bytes_per_s"),
        ("[tenant.x]\nbytes_per_s = inf", "bytes_per_s"),
        ("[tenant.x]\nmay = true", "may"),
        ("[tenant.x]\nsan = [['x']]", "san"),
        ("[tenant.x]\nsan = ['a', 'a']", "already"),
        ("[tenant.x]\nsan = ['a']\n[tenant.y]\nsan = ['a']", "x's already"),
        ("tenant.x = 3", "no table"),
        ("[tenant.x]\n[[token]]\ntenant = []\ntoken = 't'", "tenant"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 3", "token 3"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = ' '", "cannot travel"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 'é'", "cannot travel"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\nsha256 = 3", "sha256"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nmay = true", "may"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nmay = [['read']]", "may"),
        ("[tenant.x]\n[[token]]\ntenant = 'x'\ntoken = 't'\nexpires = 2027-01-01", "no time"),
        ("[tenant.x]" + "\n[[token]]\ntenant = 'x'\ntoken = 't'" * 2, "twice"),
        ("token = [1]", "no table"),
        ("a = " + "[" * 10_000, "no TOML"),
        ("a = " + "1" * 10_000, "no TOML"),
        ("token = 3", "token"),
        ("tenant = 3", "tenant"),
    ],
)
def test_a_file_that_says_what_there_is_not_is_refused_with_the_place(text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        parse_grants(text, "tokens.toml")
    assert "tokens.toml" in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(["tenant", "token", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["x", "tenant", "token", "sha256", "san", "may", "expires", "max_streams", "run_prefix"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_whatever_kinds_the_values_have_the_answer_is_grants_or_a_sentence(content):
    with mock.patch("tomllib.loads", return_value=content), contextlib.suppress(ConfigError):
        parse_grants("", "tokens.toml")


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    path = tmp_path / "tokens.toml"
    path.write_text(FILE, encoding="utf-8-sig")
    assert tenant_of(TokenFile(path).grants, "Bearer plain-secret").name == "vision"


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
    assert tenant_of(tokens.grants, "Bearer rotated", "write").name == "vision"
    assert reason(tenant_of, tokens.grants, "Bearer plain-secret", "write", NOW) == "TOKEN"
    path.write_text("broken")
    assert tokens.refresh()
    assert "no TOML" in tokens.problem
    assert not tokens.refresh(), "said once"
    assert tenant_of(tokens.grants, "Bearer rotated", "write").name == "vision"
    path.unlink()
    assert tokens.refresh()
    assert tenant_of(tokens.grants, "Bearer rotated", "write").name == "vision"


def test_a_file_that_cannot_be_read_at_the_start_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenFile(tmp_path / "gone")
