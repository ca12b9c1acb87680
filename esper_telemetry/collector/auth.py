"""Who calls, and what that caller may do: a token file, read again when it changes. Pure but for that file.

    [tenant.vision]                # everything but its name is optional
    run_prefix = "vision-"         # run ids it may write and read; "" means all
    max_streams = 200              # at once; 0 means no limit of its own
    bytes_per_s = 20_000_000       # payload; whoever sends faster is slowed down
    max_run_bytes = 50_000_000_000 # stored, for each run
    san = ["trainer.vision.example"]  # names in client certificates (mTLS)

    [[token]]
    tenant = "vision"
    sha256 = "…"                   # of the token, hex; or token = "…" itself
    expires = 2027-01-01T00:00:00Z
    may = ["write", "read"]        # default: both

Tokens are compared by hash. A file that cannot be read keeps what was read before.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

RIGHTS = frozenset({"write", "read"})
_AMOUNTS = ("max_streams", "bytes_per_s", "max_run_bytes")
_TENANT_KEYS = {"run_prefix", "san", *_AMOUNTS}
_TOKEN_KEYS = {"tenant", "token", "sha256", "expires", "may"}
_BEARER = "bearer "
_SHA256_HEX = 64


@dataclass(frozen=True, slots=True)
class Tenant:
    """Somebody who may call.

    Attributes:
        name: for logs and metrics.
        run_prefix: run ids it may use start so.
        max_streams: streams at once; 0 means no limit of its own.
        bytes_per_s: payload; 0 means no limit.
        max_run_bytes: stored bytes of each run; 0 means no limit.
    """

    name: str
    run_prefix: str = ""
    max_streams: int = 0
    bytes_per_s: float = 0.0
    max_run_bytes: int = 0

    def check_run(self, run_id: str) -> None:
        """Check that this tenant may use a run.

        Raises:
            Refused: FORBIDDEN.
        """
        if not run_id.startswith(self.run_prefix):
            raise Refused(
                "FORBIDDEN", f"run {run_id!r} is not one of {self.name}: its runs start with {self.run_prefix!r}"
            )


EVERYBODY = Tenant("everybody")


@dataclass(frozen=True, slots=True)
class _Grant:
    tenant: Tenant
    expires: datetime | None
    may: frozenset[str]


@dataclass(frozen=True, slots=True)
class Grants:
    """What a token file says.

    Attributes:
        tokens: by SHA-256 of the token.
        names: tenants by name in a client certificate.
    """

    tokens: Mapping[bytes, _Grant] = field(default_factory=dict)
    names: Mapping[str, Tenant] = field(default_factory=dict)

    def by_token(self, authorization: str | None, right: str, now: datetime) -> Tenant:
        """Return whose token stands in an `authorization` header.

        Raises:
            Refused: TOKEN where there is none, it is unknown or expired; FORBIDDEN where it lacks the right.
        """
        if not authorization or not authorization.lower().startswith(_BEARER):
            raise Refused("TOKEN", "no bearer token came; send metadata authorization: Bearer <token>")
        digest = hashlib.sha256(authorization[len(_BEARER) :].strip().encode()).digest()
        grant = self.tokens.get(digest)
        if grant is None:
            raise Refused("TOKEN", "the token is unknown; ask for one, or wait until the collector has read its file")
        if grant.expires is not None and now >= grant.expires:
            raise Refused("TOKEN", f"the token expired {grant.expires.isoformat()}; ask for a new one")
        if right not in grant.may:
            raise Refused("FORBIDDEN", f"the token may {' and '.join(sorted(grant.may))}, not {right}")
        return grant.tenant

    def by_certificate(self, names: Iterable[str]) -> Tenant | None:
        """Return the tenant that one of the names in a verified client certificate belongs to."""
        return next((self.names[name] for name in names if name in self.names), None)


def parse_grants(text: str, where: str) -> Grants:
    """Return what the text of a token file says.

    Raises:
        ConfigError: it is no TOML, or names what there is not.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: is no TOML: {error}") from None
    _known(content, {"tenant", "token"}, where)
    tenants: dict[str, Tenant] = {}
    names: dict[str, Tenant] = {}
    for name, said in _expect(content, "tenant", dict, {}, where).items():
        tenants[name] = _tenant(name, said, f"{where}: tenant {name}")
        names |= dict.fromkeys(said.get("san", ()), tenants[name])
    tokens = {}
    for number, said in enumerate(_expect(content, "token", list, [], where), 1):
        place = f"{where}: token {number}"
        _known(said, _TOKEN_KEYS, place)
        if said.get("tenant") not in tenants:
            raise ConfigError(f"{place}: tenant {said.get('tenant')!r} is not one of {sorted(tenants)}")
        may = frozenset(said.get("may", RIGHTS))
        if not may <= RIGHTS:
            raise ConfigError(f"{place}: may {sorted(may)}; there are {sorted(RIGHTS)}")
        tokens[_digest(said, place)] = _Grant(tenants[said["tenant"]], _expiry(said, place), may)
    return Grants(tokens, names)


def _tenant(name: str, said: Any, place: str) -> Tenant:
    _known(said, _TENANT_KEYS, place)
    _expect(said, "san", list, [], place)
    amounts = {
        key: _expect(said, key, (int, float), 0, place) for key in ("max_streams", "bytes_per_s", "max_run_bytes")
    }
    for key, amount in amounts.items():
        if isinstance(amount, bool) or amount < 0:
            raise ConfigError(f"{place}: {key} {amount!r} is no amount; 0 means no limit")
    return Tenant(name, _expect(said, "run_prefix", str, "", place), **amounts)


def _expect(said: Mapping[str, Any], key: str, kind: Any, otherwise: Any, place: str) -> Any:
    value = said.get(key, otherwise)
    if not isinstance(value, kind):
        raise ConfigError(f"{place}: {key} {value!r} is of the wrong kind; see the operations page")
    return value


def _known(said: Any, keys: set[str], where: str) -> None:
    if not isinstance(said, dict):
        raise ConfigError(f"{where}: {said!r} is no table; see the operations page")
    unknown = sorted(said.keys() - keys)
    if unknown:
        raise ConfigError(f"{where}: {', '.join(unknown)} is unknown; there are {', '.join(sorted(keys))}")


def _digest(said: Mapping[str, Any], place: str) -> bytes:
    if ("token" in said) == ("sha256" in said):
        raise ConfigError(f"{place}: give either token or sha256")
    if "token" in said:
        return hashlib.sha256(str(said["token"]).encode()).digest()
    text = str(said["sha256"])
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(text) != _SHA256_HEX or not digest:
        raise ConfigError(f"{place}: sha256 {text!r} is not {_SHA256_HEX} hex digits")
    return digest


def _expiry(said: Mapping[str, Any], place: str) -> datetime | None:
    expires = said.get("expires")
    if expires is None:
        return None
    if not isinstance(expires, datetime):
        raise ConfigError(f"{place}: expires {expires!r} is no time, e.g. 2027-01-01T00:00:00Z")
    return expires if expires.tzinfo else expires.replace(tzinfo=UTC)


class TokenFile:
    """Grants that follow a file.

    Args:
        path: the file; None grants everything to everybody.

    Raises:
        ConfigError: it cannot be read or is wrong. Later, a wrong file only leaves the old grants in force.

    Attributes:
        grants: what holds now; None where everybody may call.
        problem: why the file was not taken the last time; empty if it was.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self.grants: Grants | None = None
        self.problem = ""
        if path is not None:
            self.grants = self._read(path)

    def refresh(self) -> bool:
        """Read the file again if it changed; return whether there is something new, a problem included."""
        if self._path is None:
            return False
        try:
            if _stamp(self._path) == self._stamp:
                return False
            self.grants = self._read(self._path)
            self.problem = ""
        except (ConfigError, OSError) as error:
            new = str(error) != self.problem
            self.problem = str(error)
            return new
        return True

    def _read(self, path: Path) -> Grants:
        try:
            stamp = _stamp(path)
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the token file cannot be read: {error}") from None
        self._stamp = stamp
        return parse_grants(text, str(path))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
