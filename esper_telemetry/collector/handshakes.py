"""What gRPC itself refuses before a call begins: TLS handshakes, named and counted.

gRPC's C core decides on a handshake and states why on stderr only; `daemon.native_log` makes that a line of the log,
and this filter a sentence with the next step, and a count by reason. A name that the certificate does not have is
logged so too, and not counted: gRPC goes on, and the client decides. A fleet with one mistake does not fill the log:
after the first line of a reason, one every few seconds states how many there were. gRPC does not tell whose they were.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.daemon.failures import FailureCounter

_AGAIN_S = 5.0
_HANDSHAKE = re.compile(r"Handshake failed with error (?P<why>.*)", re.IGNORECASE)
_OTHER_NAME = re.compile(r"No match found for server name: (?P<name>.*)", re.IGNORECASE)
# OpenSSL's words → the reason, and what to do.
_REASONS = (
    (
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"),
        "plaintext",
        "a client speaks plaintext to this TLS port: it needs --tls or --tls-ca",
    ),
    (
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE",),
        "no_certificate",
        "a client came without a certificate: it needs --tls-cert and --tls-key",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "foreign_certificate",
        "a client's certificate is not vouched for by --tls-client-ca",
    ),
)
REASONS = (*(reason for _, reason, _ in _REASONS), "other")
"""The reasons by which handshakes are counted."""


class HandshakeFilter(logging.Filter):
    """Counts handshakes that failed, and rewrites their lines; other lines pass as they are.

    Args:
        failures: counts them by reason.
        now: a steady clock, seconds.
    """

    def __init__(self, failures: FailureCounter, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._failures = failures
        self._now = now
        self._silent_until: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is to be logged."""
        text = record.getMessage()
        other = _OTHER_NAME.search(text)
        if other is not None:
            sentence = "%s client(s) asked for the name %s, which the certificate of --tls-cert has not"
            return self._tell(record, "other_name", sentence, other["name"])
        found = _HANDSHAKE.search(text)
        if found is None:
            return True
        reason, sentence = _explain(found["why"])
        self._failures.labels(reason).inc()
        return self._tell(record, reason, "refused %s TLS handshake(s): %s (%s)", sentence, found["why"])

    def _tell(self, record: logging.LogRecord, reason: str, sentence: str, *words: str) -> bool:
        """Make a line with its number the sentence of a reason; return whether it is time for one."""
        self._unsaid[reason] += 1
        if self._now() < self._silent_until.get(reason, 0.0):
            return False
        self._silent_until[reason] = self._now() + _AGAIN_S
        count = self._unsaid.pop(reason)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = sentence, (count, *words)
        record.reason, record.count = reason, count
        return True


def _explain(why: str) -> tuple[str, str]:
    for words, reason, sentence in _REASONS:
        if any(word in why for word in words):
            return reason, sentence
    return "other", "TLS could not be agreed on"
