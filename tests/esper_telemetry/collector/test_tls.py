from dataclasses import replace
from pathlib import Path

import pytest

from esper_telemetry.collector.settings import Settings
from esper_telemetry.errors import ConfigError
from tests.esper_telemetry.collector.certificate_files import make_certificate


def settings(certificate, key) -> Settings:
    return Settings(listen="127.0.0.1:0", directory=Path("d"), certificate=certificate, key=key)


def test_a_certificate_is_read_again_when_its_file_changes(tmp_path):
    certificate, key = make_certificate(tmp_path, "one")
    certificates = settings(certificate, key).certificates()
    assert certificates.changed() is None
    other, other_key = make_certificate(tmp_path, "two")
    other_key.replace(key)
    other.replace(certificate)
    assert certificates.changed() is not None
    assert certificates.changed() is None


def test_a_certificate_that_is_gone_leaves_the_old_one_in_force(tmp_path):
    certificate, key = make_certificate(tmp_path, "one")
    certificates = settings(certificate, key).certificates()
    certificate.unlink()
    assert certificates.changed() is None


def test_a_certificate_that_cannot_be_read_at_the_start_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        settings(tmp_path / "a", tmp_path / "b").certificates()


def test_a_key_of_another_certificate_is_named_with_it(tmp_path):
    certificate, _ = make_certificate(tmp_path, "one")
    _, other_key = make_certificate(tmp_path, "two")
    with pytest.raises(ConfigError, match=f"{other_key.name} is not the key of the certificate {certificate}"):
        settings(certificate, other_key).certificates()


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_what_is_no_certificate_or_key_is_an_error_at_the_start(tmp_path, broken):
    files = dict(zip(("certificate", "key"), make_certificate(tmp_path, "one"), strict=True))
    files[broken].write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(ConfigError, match="cannot be used as certificate and key"):
        settings(**files).certificates()


def test_a_file_without_certificates_is_no_client_ca(tmp_path):
    certificate, key = make_certificate(tmp_path, "one")
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificates\n")
    with pytest.raises(ConfigError, match=r"ca\.pem holds no certificates"):
        replace(settings(certificate, key), client_ca=empty).certificates()


def test_half_of_a_rotation_leaves_the_old_certificate_in_force_and_is_said_once(tmp_path, caplog):
    certificate, key = make_certificate(tmp_path, "one")
    certificates = settings(certificate, key).certificates()
    other, other_key = make_certificate(tmp_path, "two")
    other_key.replace(key)
    assert certificates.changed() is None
    assert certificates.changed() is None
    assert caplog.text.count("the old certificate stays") == 1
    other.replace(certificate)
    assert certificates.changed() is not None
