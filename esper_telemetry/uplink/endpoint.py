"""A collector as a client reaches it: address, TLS, token, proxy. The one way of every verb, of runs and of agents.

A token travels over TLS, unix sockets or loopback only. Loopback never goes through a proxy. What waiting cannot fix (a
wrong CA, TLS on one side only, a certificate that is missing) is found out by a handshake of the standard library, for
gRPC reports all of it as an unavailable server.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import ConfigError
from esper_telemetry.wire import Credentials, check_address, is_loopback, split_address

if TYPE_CHECKING:
    import grpc
    from grpc import aio

_HANDSHAKE_S = 3.0
# A server of HTTP/2 speaks first.
_FIRST_WORD_S = 1.0
# How a server refuses a certificate that is missing or strange; gRPC's only closes the connection.
_ALERTS = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN")


@dataclass(frozen=True, slots=True)
class Endpoint(Credentials):
    """A collector's address and what proves both ends. Immutable; its files are read when they are needed.

    Attributes:
        address: "host:port", "[ipv6]:port" or "unix:path"; the fields of Credentials are given by name.
    """

    address: str

    def __post_init__(self) -> None:
        """Check what can be checked without a connection.

        Raises:
            ConfigError: the address is none, half of a key pair is given, or the token would travel in the clear.
        """
        check_address(self.address)
        Credentials.__post_init__(self)  # slots make a new class, so that super() has none to refer to
        if self.token_file is not None and not self.encrypted and not self.near:
            raise ConfigError(
                f"{self.address}: the token of {self.token_file} would travel in the clear; use --tls or --tls-ca"
            )

    @property
    def near(self) -> bool:
        """Whether nothing leaves this machine."""
        return is_loopback(self.address)

    def check_files(self) -> None:
        """Read every file once, to report a mistake at the start; later one may be missing while it is replaced.

        Raises:
            ConfigError: one cannot be read or is empty, or the key is not that of the certificate.
        """
        self.token()
        for path in (self.tls_ca, self.tls_cert, self.tls_key):
            if path is not None:
                read_file(path, "the PEM file")
        if self.tls_cert is not None:
            self._load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def token(self) -> str | None:
        """Return the token, or None without a token file.

        Raises:
            ConfigError: the file cannot be read or is empty.
        """
        if self.token_file is None:
            return None
        text = read_file(self.token_file, "the token file").decode("utf-8-sig", "replace").strip()
        if not text.isascii() or not text.isprintable():
            raise ConfigError(f"the token file {self.token_file} holds what no token can: only printable ASCII travels")
        return text

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries.

        Raises:
            ConfigError: as `token`.
        """
        token = self.token()
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def channel(self, **options: Any) -> grpc.Channel:
        """Return a new channel for blocking calls; it connects when it is first used.

        Args:
            **options: channel arguments of gRPC, without their prefix "grpc.".

        Raises:
            ConfigError: a certificate file cannot be read.
        """
        import grpc

        arguments, credentials = self._arguments(options), self._credentials()
        if credentials is None:
            return grpc.insecure_channel(self.address, arguments)
        return grpc.secure_channel(self.address, credentials, arguments)

    def aio_channel(self, **options: Any) -> aio.Channel:
        """Return a new channel for the running event loop, as `channel`."""
        from grpc import aio

        arguments, credentials = self._arguments(options), self._credentials()
        if credentials is None:
            return aio.insecure_channel(self.address, options=arguments)
        return aio.secure_channel(self.address, credentials, options=arguments)

    def _arguments(self, options: dict[str, Any]) -> list[tuple[str, Any]]:
        own = {"use_local_subchannel_pool": 1, "enable_http_proxy": 0 if self.near else 1}
        return [(f"grpc.{name}", value) for name, value in (own | options).items()]

    def _credentials(self) -> grpc.ChannelCredentials | None:
        if not self.encrypted:
            return None
        import grpc

        return grpc.ssl_channel_credentials(
            read_file(self.tls_ca, "the CA file") if self.tls_ca else None,
            read_file(self.tls_key, "the key file") if self.tls_key else None,
            read_file(self.tls_cert, "the certificate file") if self.tls_cert else None,
        )

    def misconfiguration(self) -> str:
        """Say what keeps this client and the collector apart though it answers; empty where waiting may help.

        It blocks for some seconds at most, and speaks TLS directly, so it finds nothing behind a proxy.
        """
        if self.address.startswith("unix:"):
            return ""
        host, port = split_address(self.address)
        try:
            context = self._context()
            with socket.create_connection((host, port), _HANDSHAKE_S) as plain:
                return _handshake(plain, host, context, self)
        except ConfigError as error:
            return str(error)
        except OSError:
            return ""

    def _context(self) -> ssl.SSLContext:
        if not self.encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        context = ssl.create_default_context(cafile=self.tls_ca)
        if self.tls_cert is not None:
            self._load_pair(context)
        context.set_alpn_protocols(["h2"])
        return context

    def _load_pair(self, context: ssl.SSLContext) -> None:
        """Give a context the client's certificate and its key.

        Raises:
            ConfigError: they do not fit together, or are no such files.
        """
        assert self.tls_cert is not None  # noqa: S101 - the callers looked
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"{self.tls_key} is not the key of the certificate {self.tls_cert}") from None
            pair = f"{self.tls_cert} and {self.tls_key} cannot be used as certificate and key"
            raise ConfigError(f"{pair}: {error}; give PEM files, the key without a password") from error
        except OSError as error:
            raise ConfigError(f"{self.tls_cert}, {self.tls_key}: cannot be read: {error}") from error


def _handshake(plain: socket.socket, host: str, context: ssl.SSLContext, endpoint: Endpoint) -> str:
    """Shake hands and return what is wrong; a server that answers TLS to a client without it is wrong too."""
    try:
        with context.wrap_socket(plain, server_hostname=host) as encrypted:
            if not endpoint.encrypted:
                return "the collector speaks TLS and this client does not: give --tls or --tls-ca"
            encrypted.settimeout(_FIRST_WORD_S)
            return "" if encrypted.recv(1) else _certificate_wanted(endpoint)
    except ssl.SSLCertVerificationError as error:
        vouches = endpoint.tls_ca or "the system's roots"
        return f"the collector's certificate is not vouched for by {vouches}: {error.verify_message}"
    except ssl.SSLError as error:
        if any(alert in str(error).upper().replace(" ", "_") for alert in _ALERTS):
            return _certificate_wanted(endpoint)
        return "the collector speaks no TLS: leave --tls away, or give it a certificate" if endpoint.encrypted else ""
    except OSError:
        return ""


def _certificate_wanted(endpoint: Endpoint) -> str:
    """Say what a server means that ends the connection after the handshake, before its first frame."""
    mine = f"does not take {endpoint.tls_cert}" if endpoint.tls_cert else "wants one: give --tls-cert and --tls-key"
    return f"the collector asks for a client's certificate and {mine}"


def read_file(path: str, what: str) -> bytes:
    """Return what a file holds.

    Raises:
        ConfigError: it cannot be read or is empty.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise ConfigError(f"{what} {path} is empty")
    return data
