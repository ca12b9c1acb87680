"""The token file: who may call, and what a caller may do. It is read again when it changes.

    [tenant.vision]                # everything but its name is optional
    run_prefix = "vision-"         # run ids it may write and read; "" means all
    max_streams = 200              # at once; 0 means no limit of its own
    max_readers = 10               # live readers at once; 0 means no limit of its own
    bytes_per_s = 20_000_000       # payload; a faster client is throttled
    max_run_bytes = 50_000_000_000 # stored, for each run
    san = ["trainer.vision.example"]  # names in client certificates (mTLS)
    may = ["write", "read"]        # what those certificates may; default: both

    [[token]]
    tenant = "vision"
    sha256 = "…"                   # of the token, hex; or token = "…" itself
    expires = 2027-01-01T00:00:00Z
    may = ["write", "read"]        # default: both; "delete" deletes runs

Tokens are compared by hash. A file that cannot be read, or that holds a value of a wrong kind, keeps what was read
before: every value is looked at before anything is taken.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RIGHTS = frozenset({"write", "read", "delete"})
_USUAL_RIGHTS = ("read", "write")
_AMOUNTS: dict[str, type | tuple[type, ...]] = {
    "max_streams": int,
    "max_readers": int,
    "bytes_per_s": (int, float),
    "max_run_bytes": int,
    "max_runs": int,
}
_TENANT_KEYS = {"run_prefix", "san", "may", *_AMOUNTS}
_TOKEN_KEYS = {"tenant", "token", "sha256", "expires", "may"}
_BEARER = "bearer "
_SHA256_HEX = 64
_LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant: one party that may call.

    Attributes:
        name: for logs and metrics.
        run_prefix: run ids it may use start so.
        max_streams: streams at once; 0 means no limit of its own.
        max_readers: live readers at once; 0 means no limit of its own.
        bytes_per_s: payload; 0 means no limit.
        max_run_bytes: stored bytes of each run; 0 means no limit.
        max_runs: stored runs whose id it may use; 0 means no limit.
    """

    name: str
    run_prefix: str = ""
    max_streams: int = 0
    max_readers: int = 0
    bytes_per_s: float = 0.0
    max_run_bytes: int = 0
    max_runs: int = 0

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
    """The content of a token file.

    Attributes:
        tokens: by SHA-256 of the token.
        names: by name in a client certificate.
        tenants: by name.
    """

    tokens: Mapping[bytes, _Grant] = field(default_factory=dict)
    names: Mapping[str, _Grant] = field(default_factory=dict)
    tenants: Mapping[str, Tenant] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call brought to prove who calls; it is looked at again for as long as the call lasts.

    Attributes:
        authorization: the metadata of that name; None where there is none.
        names: of the verified client certificate.
        right: what the call needs: "write" or "read".
    """

    authorization: str | None
    names: tuple[str, ...]
    right: str

    def tenant(self, grants: Grants | None, now: datetime) -> Tenant:
        """Return who calls, a certificate's name before a token; EVERYBODY where there are no grants.

        Raises:
            Refused: TOKEN where no proof holds, FORBIDDEN where it lacks the right.
        """
        return self.proven(grants, now)[0]

    def proven(self, grants: Grants | None, now: datetime) -> tuple[Tenant, datetime | None]:
        """Return who calls, and until when that holds while the grants are the same; None where it does not end.

        Raises:
            Refused: as `tenant`.
        """
        if grants is None:
            return EVERYBODY, None
        grant = next((grants.names[name] for name in self.names if name in grants.names), None)
        if grant is None:
            grant = self._by_token(grants, now)
        if self.right not in grant.may:
            raise Refused(
                "FORBIDDEN", f"{grant.tenant.name} may {' and '.join(sorted(grant.may))} with this, not {self.right}"
            )
        return grant.tenant, grant.expires

    def _by_token(self, grants: Grants, now: datetime) -> _Grant:
        header = self.authorization
        if not header or not header.lower().startswith(_BEARER):
            raise Refused("TOKEN", "no bearer token came; send metadata authorization: Bearer <token>")
        grant = grants.tokens.get(hashlib.sha256(header[len(_BEARER) :].strip().encode()).digest())
        if grant is None:
            raise Refused("TOKEN", "the token is unknown; ask for one, or wait until the collector has read its file")
        if grant.expires is not None and now >= grant.expires:
            raise Refused("TOKEN", f"the token expired {grant.expires.isoformat()}; ask for a new one")
        return grant


def parse_grants(text: str, where: str) -> Grants:
    """Parse the text of a token file.

    Raises:
        ConfigError: it is no TOML, a value is of a wrong kind, or it names what there is not.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError of int()
        raise ConfigError(f"{where}: is no TOML: {error}") from None
    _known(content, {"tenant", "token"}, where)
    tenants: dict[str, Tenant] = {}
    names: dict[str, _Grant] = {}
    for name, table in _expect(content, "tenant", dict, {}, where).items():
        place = f"{where}: tenant {name}"
        tenants[name] = _tenant(name, table, place)
        certificate = _Grant(tenants[name], None, _rights(table, place))
        for certified in _texts(table, "san", place):
            if certified in names:
                raise ConfigError(f"{place}: san {certified!r} is {names[certified].tenant.name}'s already")
            names[certified] = certificate
    tokens: dict[bytes, _Grant] = {}
    for number, table in enumerate(_expect(content, "token", list, [], where), 1):
        place = f"{where}: token {number}"
        _known(table, _TOKEN_KEYS, place)
        owner = _expect(table, "tenant", str, "", place)
        if owner not in tenants:
            raise ConfigError(f"{place}: tenant {owner!r} is not one of {sorted(tenants)}")
        digest = _digest(table, place)
        if digest in tokens:
            raise ConfigError(f"{place}: this token is in the file twice; give each token once")
        tokens[digest] = _Grant(tenants[owner], _expiry(table, place), _rights(table, place))
    return Grants(tokens, names, tenants)


def _tenant(name: str, table: Any, place: str) -> Tenant:
    _known(table, _TENANT_KEYS, place)
    amounts = {key: _expect(table, key, kind, 0, place) for key, kind in _AMOUNTS.items()}
    for key, amount in amounts.items():
        if isinstance(amount, bool) or not 0 <= amount < math.inf:
            raise ConfigError(f"{place}: {key} {amount!r} is no amount; 0 means no limit")
    return Tenant(name, _expect(table, "run_prefix", str, "", place), **amounts)


def _expect(table: Mapping[str, Any], key: str, kind: Any, otherwise: Any, place: str) -> Any:
    value = table.get(key, otherwise)
    if not isinstance(value, kind):
        raise ConfigError(f"{place}: {key} {_short(value)} is of the wrong kind; see the operations page")
    return value


def _texts(table: Mapping[str, Any], key: str, place: str, otherwise: tuple[str, ...] = ()) -> list[str]:
    """Return a list of texts."""
    values: list[Any] = _expect(table, key, list, list(otherwise), place)
    wrong = next((value for value in values if not isinstance(value, str)), None)
    if wrong is not None:
        raise ConfigError(f"{place}: {key} holds {_short(wrong)}, which is no text; see the operations page")
    return values


def _rights(table: Mapping[str, Any], place: str) -> frozenset[str]:
    may = frozenset(_texts(table, "may", place, _USUAL_RIGHTS))
    if not may <= RIGHTS:
        raise ConfigError(f"{place}: may {sorted(may)}; there are {sorted(RIGHTS)}")
    return may


def _known(table: Any, keys: set[str], where: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {_short(table)} is no table; see the operations page")
    unknown = sorted(table.keys() - keys)
    if unknown:
        raise ConfigError(f"{where}: {', '.join(unknown)} is unknown; there are {', '.join(sorted(keys))}")


def _digest(table: Mapping[str, Any], place: str) -> bytes:
    if ("token" in table) == ("sha256" in table):
        raise ConfigError(f"{place}: give either token or sha256")
    if "token" in table:
        token: str = _expect(table, "token", str, "", place)
        if not token.strip() or not token.isascii() or not token.isprintable():
            raise ConfigError(f"{place}: the token cannot travel: it is empty, or holds more than printable ASCII")
        return hashlib.sha256(token.strip().encode()).digest()
    text: str = _expect(table, "sha256", str, "", place)
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(text) != _SHA256_HEX or not digest:
        raise ConfigError(f"{place}: sha256 {_short(text)} is not {_SHA256_HEX} hex digits")
    return digest


def _expiry(table: Mapping[str, Any], place: str) -> datetime | None:
    expires = table.get("expires")
    if expires is None:
        return None
    if not isinstance(expires, datetime):
        raise ConfigError(f"{place}: expires {_short(expires)} is no time, e.g. 2027-01-01T00:00:00Z")
    return expires if expires.tzinfo else expires.replace(tzinfo=UTC)


def _short(value: object) -> str:
    """Return a value for an error: a file of many megabytes must not become one line of the log."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


class TokenFile:
    """Grants that follow a file.

    Args:
        path: the file; None grants every right to every caller.

    Raises:
        ConfigError: it cannot be read or is wrong. Later, a wrong file only leaves the old grants in force.

    Attributes:
        grants: what holds now; None where every caller may call.
        problem: why the file was not taken the last time; empty if it was.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
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
            text = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the token file cannot be read: {error}") from None
        self._stamp = stamp
        return parse_grants(text, str(path))


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size
