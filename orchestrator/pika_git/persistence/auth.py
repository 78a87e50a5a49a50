"""Tokens and the sessions of browsers.

A token is `ph_` and 32 random bytes, shown once; the database has its SHA-256. A session is made
from a token, has its role, and ends with it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

PREFIX = "ph_"
SECRET_BYTES = 32
USED_SECS = 60.0
"""How exact the time is at which a token was used last: not every request is a write."""

_ADD = text("""
    INSERT INTO token (name, role, digest, created_at) VALUES (:name, :role, :digest, :now)
    RETURNING id
""")
_BY_TOKEN = text("""
    SELECT id, name, role, used_at, NULL AS session_id FROM token
    WHERE digest = :digest AND revoked_at IS NULL
""")
_BY_SESSION = text("""
    SELECT token.id, name, role, used_at, session.id AS session_id
    FROM session JOIN token ON token.id = session.token_id
    WHERE session.digest = :digest AND expires_at > :now AND revoked_at IS NULL
""")
_USED = text("UPDATE token SET used_at = :now WHERE id = :token")
_REVOKE = text("UPDATE token SET revoked_at = :now WHERE id = :token AND revoked_at IS NULL")
_LOG_IN = text("""
    INSERT INTO session (digest, token_id, created_at, expires_at)
    VALUES (:digest, :token, :now, :until)
""")


class Role(IntEnum):
    """What a caller may do; each role may do what those before it may."""

    PUBLIC = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


ROLES = {"read": Role.READ, "write": Role.WRITE, "admin": Role.ADMIN}
"""The roles that a token can have, by name."""


@dataclass(frozen=True)
class Principal:
    """Who asks. Without a token it is an unknown caller."""

    name: str
    role: Role
    token_id: int | None = None
    session_id: int | None = None
    used_at: float | None = None

    @property
    def role_name(self) -> str:
        """The role as the API says it."""
        return self.role.name.lower()


def add_token(connection: Connection, name: str, role: str, now: float) -> tuple[int, str]:
    """Make a token; its id and its secret, which is nowhere else."""
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    values = {"name": name, "role": role, "digest": _digest(secret), "now": now}
    return int(connection.execute(_ADD, values).scalar_one()), secret


def revoke(connection: Connection, token: int, now: float) -> bool:
    """End a token and its sessions; False if there is none that could be ended."""
    return connection.execute(_REVOKE, {"token": token, "now": now}).rowcount > 0


def by_token(connection: Connection, secret: str) -> Principal | None:
    """Whose token this is."""
    return _principal(connection.execute(_BY_TOKEN, {"digest": _digest(secret)}).one_or_none())


def by_session(connection: Connection, secret: str, now: float) -> Principal | None:
    """Whose session this is."""
    values = {"digest": _digest(secret), "now": now}
    return _principal(connection.execute(_BY_SESSION, values).one_or_none())


def note_use(connection: Connection, token: int, now: float) -> None:
    """A token was used."""
    connection.execute(_USED, {"token": token, "now": now})


def log_in(connection: Connection, token: int, now: float, secs: float) -> str:
    """Begin a session of a token; its secret. Sessions that are over are removed."""
    connection.execute(text("DELETE FROM session WHERE expires_at <= :now"), {"now": now})
    secret = secrets.token_urlsafe(SECRET_BYTES)
    values = {"digest": _digest(secret), "token": token, "now": now, "until": now + secs}
    connection.execute(_LOG_IN, values)
    return secret


def log_out(connection: Connection, session: int) -> None:
    """End a session."""
    connection.execute(text("DELETE FROM session WHERE id = :session"), {"session": session})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _principal(row: Row[Any] | None) -> Principal | None:
    """A row whose role is damaged gives no access."""
    if row is None or row.role not in ROLES:
        return None
    return Principal(row.name, ROLES[row.role], row.id, row.session_id, row.used_at)
