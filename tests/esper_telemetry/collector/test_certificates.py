from pathlib import Path

import pytest

from esper_telemetry.collector.certificates import Certificates
from esper_telemetry.collector.settings import Settings
from esper_telemetry.errors import ConfigError
from tests.esper_telemetry.collector.certificate_files import make_certificate


def settings(certificate, key) -> Settings:
    return Settings(listen="127.0.0.1:0", directory=Path("d"), certificate=certificate, key=key)


def test_a_certificate_is_read_again_when_its_file_changes(tmp_path):
    certificate, key = make_certificate(tmp_path, "one")
    certificates = Certificates(settings(certificate, key))
    assert certificates.changed() is None
    other, other_key = make_certificate(tmp_path, "two")
    other_key.replace(key)
    other.replace(certificate)
    assert certificates.changed() is not None
    assert certificates.changed() is None


def test_a_certificate_that_is_gone_leaves_the_old_one_in_force(tmp_path):
    certificate, key = make_certificate(tmp_path, "one")
    certificates = Certificates(settings(certificate, key))
    certificate.unlink()
    assert certificates.changed() is None


def test_a_certificate_that_cannot_be_read_at_the_start_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Certificates(settings(tmp_path / "a", tmp_path / "b"))
