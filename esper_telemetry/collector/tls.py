"""TLS certificates that follow their files: a rotation needs no restart.

gRPC takes whatever it is given and fails without a word at the first connection, or blames the address. So the files
are tried with the standard library's TLS before gRPC sees them.
"""

from __future__ import annotations

import logging
import ssl
import threading
from typing import TYPE_CHECKING

import grpc

from esper_telemetry.collector.validity import first_expiry
from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LOG = logging.getLogger("esper_telemetry.collector")


class Certificates:
    """The server's certificate, read again when its files change.

    Args:
        certificate: PEM file of the server's certificate chain.
        key: PEM file of its private key.
        client_ca: PEM file of those who sign clients' certificates; None where clients need none.

    Raises:
        ConfigError: a file cannot be read, or they do not fit together. Later, that only leaves the old one in force.

    Attributes:
        first: the certificate to start with.
        expiries: "server" and "client_ca" → when the first certificate of that file stops to be valid, seconds since
            1970 UTC; of the files that are in force.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._paths = [path for path in (self._certificate, self._key, self._client_ca) if path is not None]
        self._refused: list[tuple[int, int]] = []
        self._fresh: grpc.ServerCertificateConfiguration | None = None
        self._lock = threading.Lock()  # connections come in threads of gRPC
        self.expiries: dict[str, float] = {}
        self._stamp = self._look()
        self.first = self._read()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new certificate, or None where the old one still holds; called for each connection."""
        with self._lock:
            self._refresh()
            fresh, self._fresh = self._fresh, None
        return fresh

    def refresh(self) -> None:
        """Read the files again if they changed; the next connection gets what they hold. It blocks."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        try:
            stamp = self._look()
            if stamp in (self._stamp, self._refused):
                return
            self._refused = stamp
            self._fresh = self._read()
        except ConfigError as error:
            LOG.warning("the old certificate stays: %s", error)
            return
        self._stamp = stamp
        LOG.info("a new certificate is in force: %s", self._certificate)

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
        self._try()
        self.expiries = {
            use: first_expiry(data.decode("utf-8", "replace"), str(path))
            for use, path, data in zip(
                ("server", "client_ca"), self._paths[::2], [certificate, *client_ca], strict=False
            )
        }
        return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca[0] if client_ca else None)

    def _try(self) -> None:
        """Load the files as a TLS server would.

        Raises:
            ConfigError: they are no certificate, no key, or not the key of that certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (ssl.SSLError, ValueError, OSError) as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"{self._key} is not the key of the certificate {self._certificate}") from None
            pair = f"{self._certificate} and {self._key} cannot be used as certificate and key"
            raise ConfigError(f"{pair}: {error}; give PEM files, the key without a password") from error
        try:
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"{self._client_ca} holds no certificates to check clients with: {error}") from error


def _no_password() -> str:
    """Answer for a key with a password; OpenSSL would ask on the terminal and wait."""
    return ""
