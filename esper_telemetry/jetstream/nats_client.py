"""A client of the log's servers: how it gets in, what it waits for meanwhile, and what it will never wait for.

Servers that are not there yet are waited for, and the log states what is missing. What waiting cannot cure ends a
start at once: an untrusted certificate, a user that is rejected, a server without TLS where TLS is required.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

from esper_telemetry.daemon.supervisor import end_tasks
from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.jetstream.credentials import secrets_in

try:
    from nats.aio.client import Client
    from nats.errors import Error as NatsError
except ImportError as error:
    raise MissingExtraError("nats-py", "nats") from error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esper_telemetry.jetstream.deployment import LogSettings

LOG = logging.getLogger("esper_telemetry.collector")

# An election takes a few seconds, on a loaded machine more.
START_S = 20.0
_PROGRESS_S = 5.0
_CONNECT_S = 2.0
_RECONNECT_S = 0.1
# What may wait for a connection that is being made anew; more is refused, and sent again from the window.
_OUTBOUND_BYTES = 16 << 20

_NO_TLS = "the server offers no TLS"
_WRONG_USER = "correct the file of --log-credentials, or the user and password in the URL"
_WRONG_CA = "give the authority that signed the servers' certificates with --log-tls-ca, and names that are in them"
_NO_CERTIFICATE = "the servers want a client certificate: give --log-tls-cert and --log-tls-key"
# Part of what the servers or the TLS library complain of -> the remedy. Waiting is none.
_FINAL = {
    _NO_TLS.lower(): "use nats:// without --log-tls-ca, or set the servers up with TLS",
    "authorization violation": _WRONG_USER,
    "authentication": _WRONG_USER,
    "certificate_verify_failed": _WRONG_CA,
    "certificate verify failed": _WRONG_CA,
    "certificate required": _NO_CERTIFICATE,
    "bad certificate": _NO_CERTIFICATE,
    "unknown ca": "the servers do not trust the client's certificate: give one that their ca_file signed",
}


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of asyncio's tells anything: it warns at the end of each connection with TLS."""
    return "eof_received()" not in record.getMessage()


class NatsClient(Client):
    """The client library's client, with secrets that are read at each connect, and no plain text where TLS is wanted.

    Args:
        settings: where the servers are.
        reconnected: called when a lost connection was made anew.

    Attributes:
        complaint: what the servers or the library last reported; empty before, and again once reconnected.
        encrypted: whether TLS is wanted.
    """

    def __init__(self, settings: LogSettings, reconnected: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.complaint = ""
        self.encrypted = settings.encrypted
        self._settings = settings
        self._on_reconnect = reconnected
        self._final = asyncio.Event()
        logging.getLogger("asyncio").addFilter(_is_news)  # once, however often it is added
        self._advice = ""

    async def start(self, name: str) -> None:
        """Connect, for at most START_S.

        Args:
            name: shown in the servers' monitoring.

        Raises:
            ConfigError: it is not let in, or no server can be reached in time.
        """
        access, shown = self._settings.access, self._settings.shown
        secrets = secrets_in(access.credentials) if access.credentials is not None else {}
        context = access.context() if self.encrypted or access.wants_tls else None
        connecting = asyncio.ensure_future(
            self.connect(
                self._settings.urls,
                name=name,
                connect_timeout=int(_CONNECT_S),
                reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds; annotated as int, and passed to sleep
                max_reconnect_attempts=-1,
                pending_size=_OUTBOUND_BYTES,
                error_cb=self._complained,
                reconnected_cb=self._reconnected,
                tls=context,
                **secrets,  # type: ignore[arg-type]  # by the name of its options
            )
        )
        refused = asyncio.ensure_future(self._final.wait())
        try:
            for waited in range(0, int(START_S), int(_PROGRESS_S)):
                await asyncio.wait({connecting, refused}, timeout=_PROGRESS_S, return_when=asyncio.FIRST_COMPLETED)
                if connecting.done():
                    return connecting.result()
                if refused.done():
                    break
                reason = self.complaint or "no answer"
                LOG.info("waiting for a server of the log at %s since %g s: %s", shown, waited + _PROGRESS_S, reason)
        except (NatsError, OSError, ValueError) as error:
            raise ConfigError(f"{shown}: cannot be reached: {error!r}; is nats-server running?") from error
        finally:
            await end_tasks([task for task in (connecting, refused) if not task.done()])
        if self._advice:
            raise ConfigError(f"{shown}: not let in: {self.complaint}; {self._advice}")
        reason = self.complaint or f"no answer within {START_S:g} s"
        raise ConfigError(f"{shown}: cannot be reached: {reason}; is nats-server running?")

    async def _reconnected(self) -> None:
        self.complaint = ""
        await self._on_reconnect()

    async def _complained(self, error: Exception) -> None:
        """Keep what the client library reports: each reconnect, and why it does not come about."""
        self.complaint = str(error) or type(error).__name__
        advice = next((remedy for part, remedy in _FINAL.items() if part in self.complaint.lower()), "")
        if isinstance(error, ssl.SSLCertVerificationError):
            advice = _WRONG_CA
        if advice:
            self._advice = advice
            self._final.set()

    def _connect_command(self) -> bytes:
        """Return what introduces this client, after the handshake: the one place that each connect passes.

        The library encrypts if the server asks for it, whatever the URL has; no secret may go to one that does not.
        """
        if self.encrypted and not self._server_info.get("tls_required"):
            raise NatsError(_NO_TLS)
        if (path := self._settings.access.credentials) is not None:
            try:
                secrets = secrets_in(path)
            except ConfigError as error:
                LOG.warning("%s; the former ones stay in force", error)
            else:
                self.options.update({name: secrets[name] for name in ("user", "password", "token") if name in secrets})
        command: bytes = super()._connect_command()
        return command


def log_client(settings: LogSettings, reconnected: Callable[[], Awaitable[None]]) -> Any:
    """Return a client that is not connected; the library's own calls are untyped."""
    return NatsClient(settings, reconnected)
