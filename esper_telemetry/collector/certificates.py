"""TLS certificates that follow their files: a rotation needs no restart."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import grpc

from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from esper_telemetry.collector.settings import Settings

LOG = logging.getLogger("esper_telemetry.collector")


class Certificates:
    """The server's certificate, read again when its files change.

    Args:
        settings: name the files.

    Raises:
        ConfigError: a file cannot be read. Later, that only leaves the old certificate in force.

    Attributes:
        first: the certificate to start with.
    """

    def __init__(self, settings: Settings) -> None:
        self._paths = [path for path in (settings.certificate, settings.key, settings.client_ca) if path is not None]
        self._stamp = self._look()
        self.first = self._read()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new certificate, or None where the old one still holds; called for each connection."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            fresh = self._read()
        except (ConfigError, OSError) as error:
            LOG.warning("the old certificate stays: %s", error)
            return None
        self._stamp = stamp
        return fresh

    def _look(self) -> list[tuple[int, int]]:
        try:
            return [(found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in self._paths)]
        except OSError as error:
            raise ConfigError(f"the certificate cannot be read: {error}") from error

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            certificate, key, *client_ca = [path.read_bytes() for path in self._paths]
        except OSError as error:
            raise ConfigError(f"the certificate cannot be read: {error}") from error
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca[0] if client_ca else None)
