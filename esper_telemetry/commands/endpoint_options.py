"""The options that state how a collector is reached: the same for every verb that talks to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = click.Path(exists=True, dir_okay=False)
_OPTIONS = (
    click.option(
        "--token-file", type=_FILE, help="File with the bearer token; it goes over TLS or stays on this machine."
    ),
    click.option("--tls", is_flag=True, help="Encrypt; the system's roots vouch for the collector."),
    click.option("--tls-ca", type=_FILE, help="Encrypt; the roots in this PEM file vouch for the collector."),
    click.option("--tls-cert", type=_FILE, help="The client's certificate, for collectors that want one."),
    click.option("--tls-key", type=_FILE, help="The key of that certificate."),
)


def endpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments of an Endpoint beside its address: token_file, tls, tls_ca, tls_cert, tls_key."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
