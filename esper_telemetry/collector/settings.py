"""How a collector runs, and which ways are refused before anything listens. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esper_telemetry.collector.auth import TokenFile
from esper_telemetry.collector.frame_check import Validation
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.retention import tenant_prefixes
from esper_telemetry.collector.tls import Certificates
from esper_telemetry.errors import ConfigError
from esper_telemetry.storage.object_archive import objection
from esper_telemetry.wire import is_loopback, split_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esper_telemetry.collector.auth import Grants
    from esper_telemetry.collector.retention import RetentionRule
    from esper_telemetry.jetstream.deployment import LogSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a collector runs.

    Attributes:
        listen: "HOST:PORT" or "unix:PATH"; port 0 takes a free one.
        directory: folder of runs; made if its parent exists. Either this or `log`.
        archive: URL in object storage that sealed segments are sent to, such as "s3://bucket/runs"; empty for none.
        log: the message log that it is a gateway of.
        metrics: "HOST:PORT" of /metrics and /healthz; empty for none.
        health: "HOST:PORT" of grpc.health.v1 alone, in the clear, for probes that speak no TLS; empty for none.
        certificate: PEM file of the server's certificate chain; with `key` it means TLS.
        key: PEM file of its private key.
        client_ca: PEM file; clients need a certificate signed by it (mTLS).
        tokens: the token file; None lets every caller in.
        insecure: listen beyond loopback without TLS all the same.
        validation: how much of a frame is looked at.
        min_free: free part of the disk below which nothing is taken, 0 to 1.
        retention: what is deleted by and by; the first rule that fits a run holds for it. None keeps all.
        compact: rewrite sealed segments into full frames where that makes them a third smaller.
        limits: what the collector takes.
    """

    listen: str
    directory: Path | None = None
    archive: str = ""
    log: LogSettings | None = None
    metrics: str = ""
    health: str = ""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    insecure: bool = False
    validation: Validation = Validation.SAMPLE
    min_free: float = 0.05
    retention: tuple[RetentionRule, ...] = ()
    compact: bool = False
    limits: CollectorLimits = field(default_factory=CollectorLimits)

    @property
    def secure(self) -> bool:
        """Whether calls are encrypted."""
        return self.certificate is not None

    def certificates(self) -> Certificates:
        """Return the certificates to start with, read from their files; only where calls are encrypted.

        Raises:
            ConfigError: a file cannot be read, or they do not fit together.
        """
        assert self.certificate is not None  # noqa: S101 - `secure` states it
        assert self.key is not None  # noqa: S101 - `check` refused one without the other
        return Certificates(self.certificate, self.key, self.client_ca)

    def check(self) -> None:
        """Check what can be checked without listening.

        Raises:
            ConfigError: the settings are unsafe or do not fit together.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                "a certificate needs its key and a key its certificate: give both --tls-cert and --tls-key"
            )
        if self.client_ca is not None and not self.secure:
            raise ConfigError("--tls-client-ca needs TLS: give --tls-cert and --tls-key")
        if (self.directory is None) == (self.log is None):
            raise ConfigError("give a place for the records: either --dir, or --engine nats://HOST:PORT")
        if self.log is not None and self.archive:
            raise ConfigError("--archive goes with --dir: a gateway has no files")
        if self.log is not None and any(rule.limits for rule in self.retention):
            raise ConfigError("retention goes with --dir: a gateway has no files")
        if not 0 <= self.min_free <= 1:
            raise ConfigError(f"--min-free {self.min_free * 100:g} is no percentage")
        for number, rule in enumerate(self.retention, 1):
            rule.check(f"retention rule {number}")
        if self.limits.streams < 1:
            raise ConfigError(f"--max-streams {self.limits.streams} admits no stream; give 1 or more")
        if not (self.secure or self.insecure or is_loopback(self.listen)):
            raise ConfigError(
                f"refusing to listen on {self.listen} without TLS: every host on the network could read and write;"
                " give --tls-cert and --tls-key, listen on 127.0.0.1, or pass --insecure"
            )


def examine(settings: Settings) -> Iterator[str]:
    """Yield what was found right, a line for each part.

    Raises:
        ConfigError: a start would fail, with the same words.
    """
    settings.check()
    for address in filter(None, (settings.listen, settings.metrics, settings.health)):
        if not address.startswith("unix:"):
            split_address(address)
    yield f"settings: will listen on {settings.listen}"
    if settings.directory is not None:
        _check_folder(settings.directory)
        yield f"folder: {settings.directory} can be used"
        if settings.archive:
            why = objection(settings.archive)
            yield f"archive: {settings.archive} " + (
                f"does NOT ANSWER now ({why}); a start serves all the same, and tries it again" if why else "answers"
            )
    elif settings.log is not None:
        yield f"log: {len(settings.log.urls)} server(s), {settings.log.shown}; not asked"
    if settings.secure:
        expiries = settings.certificates().expiries
        yield f"certificate: {settings.certificate} and its key fit"
        for use, expiry in expiries.items():
            until = datetime.fromtimestamp(expiry, UTC)
            yield f"certificate: {use} {'holds until' if until > datetime.now(UTC) else 'has EXPIRED'} {until:%Y-%m-%d}"
    grants = TokenFile(settings.tokens).grants
    tenant_prefixes(settings.retention, grants)
    yield from (
        _about(grants) if grants is not None else ["tokens: none; every client that can connect may read and write"]
    )


def _check_folder(directory: Path) -> None:
    """Check that a folder of runs is there or can be made.

    Raises:
        ConfigError: it cannot be used.
    """
    place = directory if directory.exists() else directory.parent
    if not place.is_dir():
        raise ConfigError(f"{directory}: cannot be used: {place} is no folder; check the path")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{directory}: cannot be used: {place} may not be written to; check its permissions")


def _about(grants: Grants) -> Iterator[str]:
    tenants = {each.tenant.name for each in (*grants.tokens.values(), *grants.names.values())}
    yield f"tokens: {len(grants.tokens)} tokens and {len(grants.names)} certificate names of {len(tenants)} tenants"
    now = datetime.now(UTC)
    expired = [each for each in grants.tokens.values() if each.expires is not None and each.expires <= now]
    for each in expired:
        yield f"tokens: one of {each.tenant.name} has expired {each.expires}"
