"""The options that state which message log is meant, and how it is reached: the same for gateways and consumers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.jetstream.deployment import LogSettings

_FILE = click.Path(path_type=Path)
_OPTIONS = (
    click.option(
        "--log-name", default="esper", show_default=True, help="What the names of stream and bucket start with."
    ),
    click.option("--log-partitions", default=8, show_default=True, help="Partitions, where the stream has to be made."),
    click.option("--log-replicas", default=3, show_default=True, help="Replicas, where the stream has to be made."),
    click.option(
        "--log-gib", default=16.0, show_default=True, help="GiB that the stream may hold, where it has to be made."
    ),
    click.option(
        "--log-credentials",
        type=_FILE,
        help="File for the log's servers: creds, an nkey seed, or TOML (see docs/log.md).",
    ),
    click.option("--log-tls-ca", type=_FILE, help="PEM file of the authority that signed the servers' certificates."),
    click.option("--log-tls-cert", type=_FILE, help="PEM file of a client certificate, for servers that want one."),
    click.option("--log-tls-key", type=_FILE, help="PEM file of its key."),
)


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments of `log_settings` beside the URL; their names begin with log_."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def log_settings(engine: str, options: dict[str, Any]) -> LogSettings:
    """Return the settings that the options state.

    Args:
        engine: the URL of the servers.
        options: what `log_options` gave the command.

    Raises:
        ConfigError: they cannot be, or a file that they name cannot be used.
    """
    from esper_telemetry.jetstream.credentials import LogAccess
    from esper_telemetry.jetstream.deployment import LogSettings

    access = LogAccess(
        credentials=options["log_credentials"],
        ca=options["log_tls_ca"],
        certificate=options["log_tls_cert"],
        key=options["log_tls_key"],
    )
    access.check()
    return LogSettings.of(
        engine,
        options["log_name"],
        options["log_partitions"],
        options["log_replicas"],
        options["log_gib"],
        access=access,
    )
