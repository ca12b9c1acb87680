"""`esper-telemetry ui` as people run it."""

from __future__ import annotations

import pytest

from tests.esper_telemetry.ui.pageprocess import PageProcess


def test_a_place_that_is_not_there_is_refused(cli, tmp_path):
    done = cli("ui", tmp_path / "nowhere", "--no-open")
    assert (done.code, "no such file or folder" in done.err) == (1, True)


@pytest.mark.parametrize("listen", ["7576", "127.0.0.1:port", ":1"])
def test_a_place_to_listen_that_is_none_is_refused(cli, tmp_path, listen):
    done = cli("ui", tmp_path, "--listen", listen, "--no-open")
    assert done.code == 1
    assert repr(listen) in done.err


def test_security_goes_with_a_collector_only(cli, tmp_path):
    done = cli("ui", tmp_path, "--tls", "--no-open")
    assert (done.code, "is a folder" in done.err) == (2, True)


def test_a_token_of_a_file_is_needed_by_every_browser(record_run, tmp_path):
    token = tmp_path / "token"
    token.write_text("quite-secret\n")
    page = PageProcess(record_run(), "--page-token", str(token))
    try:
        assert page.address.endswith("/?token=quite-secret")
        assert page.get("/api/runs").status_code == 401
        assert page.get("/api/runs", headers={"authorization": "Bearer quite-secret"}).status_code == 200
    finally:
        page.stop()


def test_a_token_file_without_a_token_is_refused(cli, record_run, tmp_path):
    token = tmp_path / "token"
    token.write_text("two words\n")
    done = cli("ui", record_run(), "--page-token", token, "--no-open")
    assert (done.code, "holds no token" in done.err) == (1, True)
