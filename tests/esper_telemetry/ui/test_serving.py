"""The server of the page: where it listens, what it refuses, and how it ends."""

from __future__ import annotations

import signal
import socket

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.ui.listing import FolderListing
from esper_telemetry.ui.serving import serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_in_good_order(number, record_run, open_page):
    page = open_page(record_run())
    assert page.get("/").status_code == 200
    assert page.stop(number) == 0


def test_beyond_this_machine_it_wants_a_token(record_run):
    with pytest.raises(ConfigError, match="give a token"):
        serve(FolderListing(record_run()), (), host="0.0.0.0")  # noqa: S104 - it is refused


def test_a_port_that_is_taken_is_told(record_run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
            serve(FolderListing(record_run()), (), port=port)
