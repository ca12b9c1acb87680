"""What a start would find wrong with its settings, tokens and certificates; nothing is listened on, nothing is made."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esper_telemetry.collector.auth import TokenFile
from esper_telemetry.collector.certificates import Certificates
from esper_telemetry.errors import ConfigError
from esper_telemetry.wire import split_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esper_telemetry.collector.auth import Grants
    from esper_telemetry.collector.settings import Settings


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
    elif settings.log is not None:
        yield f"log: {len(settings.log.urls)} server(s), {settings.log.shown}; not asked"
    if settings.secure:
        Certificates(settings)
        yield f"certificate: {settings.certificate} and its key fit"
    grants = TokenFile(settings.tokens).grants
    yield from _about(grants) if grants is not None else ["tokens: none; everybody who can connect may read and write"]


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
