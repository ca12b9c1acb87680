"""Who a gateway or a consumer is to the servers of the log: one file, whose kind its content shows, and TLS.

The file is a NATS creds file (a JWT and its key, as `nsc` writes it), an nkey seed, or TOML with `user` and `password`
or with `token`. Creds, passwords and tokens are read again at each connect, so a file may be replaced; a file that
cannot be read then leaves the former secret in force. No secret is ever in a message of an error.
"""

from __future__ import annotations

import re
import ssl
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_CREDS = "BEGIN NATS USER JWT"
# A user's seed: S for seed, U for user, base32.
_SEED = re.compile(r"^\s*(SU[A-Z2-7]{56})\s*$", re.MULTILINE)
_KINDS = ({"user", "password"}, {"token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAccess:
    """How the servers are reached. Nothing of it: as the URL states.

    Attributes:
        credentials: file with what the servers want to know; None where the URL has it, or they want nothing.
        ca: PEM file of the authority that signed the servers' certificates; None for the system's. It wants TLS.
        certificate: PEM file of a client certificate, for servers that verify clients. It wants TLS.
        key: PEM file of its key.
    """

    credentials: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def wants_tls(self) -> bool:
        """Whether something of it is of use with TLS only."""
        return self.ca is not None or self.certificate is not None

    def check(self) -> None:
        """Look whether the files can be used.

        Raises:
            ConfigError: one cannot.
        """
        if self.credentials is not None:
            secrets_in(self.credentials)
        self.context()

    def context(self) -> ssl.SSLContext:
        """Return what checks the servers' certificates.

        Raises:
            ConfigError: a file cannot be used.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                "--log-tls-cert and --log-tls-key go together: a certificate is of no use without its key"
            )
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # of which ssl.SSLError is one
            raise ConfigError(f"--log-tls-ca {self.ca}: cannot be used: {error}; give a PEM file") from error
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except OSError as error:
                raise ConfigError(
                    f"--log-tls-cert {self.certificate}, --log-tls-key {self.key}: cannot be used: {error};"
                    " give PEM files that belong together"
                ) from error
        return context


def secrets_in(path: Path) -> dict[str, str]:
    """Return what a file states, by the name of the client library's option.

    Returns:
        `user` and `password`, or `token`, or `nkeys_seed_str`, or `user_credentials` (the path: the library reads it).

    Raises:
        ConfigError: it cannot be read, or states something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--log-credentials {path}: cannot be read: {error}") from error
    if _CREDS in text:
        return {"user_credentials": str(path)}
    if (seed := _SEED.search(text)) is not None:
        return {"nkeys_seed_str": seed[1]}
    try:
        stated = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        stated = {}
    if set(stated) in _KINDS and all(isinstance(value, str) and value for value in stated.values()):
        return stated
    raise ConfigError(
        f"--log-credentials {path}: holds no credentials; it may be a NATS creds file, an nkey seed (SU...), or TOML"
        " with user and password, or with token"
    )
