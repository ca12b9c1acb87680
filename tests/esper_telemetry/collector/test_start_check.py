"""What a start would find wrong is found without one."""

import pytest

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.retention import RetentionRule
from esper_telemetry.collector.settings import Settings, examine
from esper_telemetry.errors import ConfigError
from tests.esper_telemetry.collector.certificate_files import make_certificate

TOKENS = """
[tenant.a]
san = ["a.example"]
[[token]]
tenant = "a"
token = "secret-of-a"
[[token]]
tenant = "a"
token = "old-secret"
expires = 2026-01-01T00:00:00Z
"""


def settings(tmp_path, **changes) -> Settings:
    return Settings(**{"listen": "127.0.0.1:0", "directory": tmp_path / "runs", **changes})


def test_what_is_right_is_listed_and_nothing_is_made(tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    (tmp_path / "tokens.toml").write_text(TOKENS)
    before = sorted(tmp_path.iterdir())
    tokens = tmp_path / "tokens.toml"
    lines = list(examine(settings(tmp_path, certificate=certificate, key=key, tokens=tokens, metrics="[::1]:0")))
    assert "tokens: 2 tokens and 1 certificate names of 1 tenants" in lines
    assert any("one of a has expired" in line for line in lines)
    assert any(line.startswith("certificate: server holds until 20") for line in lines)
    assert "secret" not in str(lines)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"listen": "0.0.0.0:1"}, "refusing to listen"),
        ({"listen": "nonsense"}, "is not host:port"),
        ({"metrics": "127.0.0.1"}, "is not host:port"),
        ({"health": "x:99999"}, "is not host:port"),
        ({"min_free": 1.5}, "--min-free"),
        ({"min_free": float("nan")}, "--min-free"),
        ({"retention": (RetentionRule(days=-1.0),)}, "rule 1: days -1"),
        ({"retention": (RetentionRule(gib=float("inf")),)}, "rule 1: gib inf"),
        ({"retention": (RetentionRule(tenant="a"),)}, "names the tenant 'a'; the token file has none"),
        ({"limits": CollectorLimits(streams=0)}, "--max-streams"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        list(examine(settings(tmp_path, **changes)))


def test_folders_tokens_and_certificates_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no folder"):
        list(examine(settings(tmp_path, directory=tmp_path / "a" / "b")))
    with pytest.raises(ConfigError, match="no folder"):
        list(examine(settings(tmp_path, directory=tmp_path / "file")))
    with pytest.raises(ConfigError, match="token file cannot be read"):
        list(examine(settings(tmp_path, tokens=tmp_path / "none")))
    (tmp_path / "tokens.toml").write_text("[tenant.a]\nmax_streams = true")
    with pytest.raises(ConfigError, match="max_streams"):
        list(examine(settings(tmp_path, tokens=tmp_path / "tokens.toml")))
    one, _ = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "other")
    with pytest.raises(ConfigError, match="is not the key of"):
        list(examine(settings(tmp_path, certificate=one, key=other)))


def test_an_archive_that_a_start_refuses_is_an_error_and_one_that_does_not_answer_is_a_line(tmp_path, monkeypatch):
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing listens there
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "any")
    (tmp_path / "bucket").mkdir()
    there = f"file://{tmp_path / 'bucket'}"
    assert f"archive: {there} answers" in list(examine(settings(tmp_path, archive=there)))
    lines = list(examine(settings(tmp_path, archive="s3://bucket/runs")))
    assert any(line.startswith("archive: s3://bucket/runs does NOT ANSWER now (") for line in lines)
    with pytest.raises(ConfigError, match=r"--archive s3:/bucket: .* give s3://BUCKET/PREFIX"):
        list(examine(settings(tmp_path, archive="s3:/bucket")))
