"""Until when certificates hold, read from their PEM files with nothing but the standard library. Pure.

X.509 (RFC 5280, 4.1): a Certificate is a SEQUENCE whose first element, the TBSCertificate, has the validity as its
fifth element, or fourth where the version is left out. Only lengths and tags on the way there are looked at.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

from esper_telemetry.errors import ConfigError

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME, _LONG = 0xA0, 0x17, 0x80
# RFC 5280, 4.1.2.5.1: two digits of a year from 50 on are of the last century.
_CENTURY = 50


def first_expiry(pem: str, where: str) -> float:
    """Return when the first of the certificates in a PEM text stops to be valid; seconds since 1970 UTC.

    Args:
        pem: the text.
        where: names it in the error.

    Raises:
        ConfigError: it holds no certificate that can be read.
    """
    try:
        return min(_not_after(ssl.PEM_cert_to_DER_cert(each)) for each in _PEM.findall(pem))
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{where} holds no certificate that can be read: {error}") from None


def _not_after(der: bytes) -> float:
    _, certificate, _ = _element(der, 0)
    _, body, _ = _element(certificate, 0)
    at = 0
    tag, _, end = _element(body, at)
    if tag == _VERSION:
        at = end
    for _ in range(3):  # serial number, signature algorithm, issuer
        _, _, at = _element(body, at)
    _, validity, _ = _element(body, at)
    _, _, at = _element(validity, 0)
    tag, text, _ = _element(validity, at)
    digits = text.decode("ascii").rstrip("Z")
    if tag == _UTC_TIME:
        digits = ("19" if int(digits[:2]) >= _CENTURY else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def _element(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Return tag and content of the element at an offset, and where the next one begins."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & _LONG:
        start += length & ~_LONG
        length = int.from_bytes(der[at + 2 : start], "big")
    end = start + length
    if end > len(der):
        raise ValueError("it is cut off")
    return tag, der[start:end], end
