"""Keys, JWTs and creds files of a NATS operator, as `nsc` would write them, and what a server has to be told."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

nkeys = pytest.importorskip("nkeys")

if TYPE_CHECKING:
    from pathlib import Path

# First byte of a public key, by its kind; a seed adds that of "S" (https://docs.nats.io: nkeys).
_KINDS = {"O": 14 << 3, "A": 0, "U": 20 << 3}
_SEED = 18 << 3


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


class Key(NamedTuple):
    """A new key pair of an operator, an account or a user."""

    seed: str
    public: str

    @classmethod
    def new(cls, kind: str) -> Key:
        prefix = _KINDS[kind]
        raw = bytes([_SEED | prefix >> 5, (prefix & 31) << 3]) + os.urandom(32)
        seed = base64.b32encode(raw + _crc16(raw).to_bytes(2, "little")).rstrip(b"=")
        return cls(seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode())

    def sign(self, claims: dict, subject: str) -> str:
        """Return a JWT about `subject`."""
        claims = {"iat": 1, "iss": self.public, "sub": subject, **claims}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        parts = [_base64(json.dumps(each).encode()) for each in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
        signed = nkeys.from_seed(bytearray(self.seed.encode())).sign(".".join(parts).encode())
        return ".".join([*parts, _base64(signed)])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _account(operator: Key, account: Key, *, jetstream: bool) -> str:
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1}
    if jetstream:
        limits |= {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    nats = {"limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2}
    return operator.sign({"name": "a", "nats": nats}, account.public)


def write_creds(path: Path) -> str:
    """Write a creds file; return what the configuration of servers needs, so that its user is let in."""
    operator, account, system, user = Key.new("O"), Key.new("A"), Key.new("A"), Key.new("U")
    own = operator.sign(
        {"name": "o", "nats": {"type": "operator", "version": 2, "system_account": system.public}}, operator.public
    )
    rights = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2}
    jwt = account.sign({"name": "u", "nats": rights}, user.public)
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    accounts = f"""
      {account.public}: {_account(operator, account, jetstream=True)}
      {system.public}: {_account(operator, system, jetstream=False)}
    """
    return f"operator: {own}\nsystem_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{ {accounts} }}\n"
