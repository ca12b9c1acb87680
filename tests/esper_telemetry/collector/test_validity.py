"""The end of a certificate's validity, as openssl states it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

import pytest

from esper_telemetry.collector.validity import first_expiry
from esper_telemetry.errors import ConfigError
from tests.esper_telemetry.collector.certificate_files import make_certificate


def as_openssl_says(path) -> float:
    command = ["openssl", "x509", "-in", str(path), "-noout", "-enddate"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
    return datetime.strptime(said, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("days", [1, 400, 20_000])  # beyond 2049 the time has another form
def test_the_end_is_the_one_that_openssl_reads(tmp_path, days):
    certificate, _ = make_certificate(tmp_path, "one", days=days)
    assert first_expiry(certificate.read_text(), "x") == as_openssl_says(certificate)


def test_of_a_chain_the_first_end_counts(tmp_path):
    long, short = (make_certificate(tmp_path, name, days=days)[0] for name, days in (("long", 90), ("short", 3)))
    assert first_expiry(long.read_text() + short.read_text(), "x") == as_openssl_says(short)


@pytest.mark.parametrize("text", ["", "no", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_an_error_with_its_place(text):
    with pytest.raises(ConfigError, match=r"a\.pem holds no certificate"):
        first_expiry(text, "a.pem")


def test_a_cut_certificate_is_an_error(tmp_path):
    certificate, _ = make_certificate(tmp_path, "one")
    lines = certificate.read_text().splitlines()
    with pytest.raises(ConfigError, match="cut off"):
        first_expiry("\n".join([*lines[:3], lines[-1]]), "a.pem")
