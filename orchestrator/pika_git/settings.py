"""What the operator sets, in `settings.toml` of the forge's directory.

Every key may be missing. A wrong key or type is one sentence that names the file and the key.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    SectionT = TypeVar("SectionT")

MIB = 1024 * 1024
LAST_PORT = 65535


class SettingsError(Exception):
    """The settings can't be used; which and why, in a sentence."""


@dataclass(frozen=True)
class Limits:
    """How much of something there may be, in MiB."""

    request_mib: int = 1
    """The body of a request: no request of the forge's has more than a few kB."""
    evaluation_mib: int = 8192
    """Address space of one evaluation of a catalog."""


@dataclass(frozen=True)
class Deadlines:
    """How long something may take, in seconds."""

    evaluation_secs: int = 600
    """One evaluation of a catalog."""
    shutdown_secs: int = 5
    """Requests that are being answered when the service is asked to end."""
    session_secs: int = 14 * 24 * 3600
    """How long a browser is logged in."""
    poll_secs: int = 5
    """How often the repositories are looked at without a push that was told."""


@dataclass(frozen=True)
class Settings:
    """All settings."""

    listen: str = "127.0.0.1:8080"
    public_url: str = ""
    """Where users find the forge, if not at `listen`: behind a proxy."""
    public_read: bool = False
    """Everyone may read, without a token."""
    limits: Limits = field(default_factory=Limits)
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def is_https(self) -> bool:
        """Whether users speak TLS with the forge, so that cookies may be for TLS only."""
        return urlsplit(self.public_url).scheme == "https"


def load(path: Path) -> Settings:
    """The settings in a file; those by default if it isn't there."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from error
    try:
        settings = _section(Settings, values, "")
        parse_address(settings.listen)
        _check_url(settings.public_url)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return settings


def parse_address(address: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPV6]:PORT`, as host and port; port 0 takes a free one."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > LAST_PORT:
        raise SettingsError(f"`listen` is HOST:PORT, such as 127.0.0.1:8080, not {address!r}")
    return host, int(port)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is looked at when it is asked for
    except ValueError as error:
        raise SettingsError(f"`public_url` is no URL: {error}") from None
    if url and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/")):
        raise SettingsError(f"`public_url` is http(s)://HOST[:PORT] without a path, not {url!r}")


def _section(kind: type[SectionT], values: dict[str, Any], prefix: str) -> SectionT:
    default = kind()
    known = vars(default)
    for name in values:
        if name not in known:
            raise SettingsError(f"there is no setting `{prefix}{name}`")
    return kind(
        **{name: _value(getattr(default, name), values[name], prefix + name) for name in values}
    )


def _value(default: object, value: object, name: str) -> object:
    if isinstance(default, Limits | Deadlines):
        if not isinstance(value, dict):
            raise SettingsError(f"`{name}` is a table, not {value!r}")
        return _section(type(default), value, f"{name}.")
    if type(value) is not type(default):
        raise SettingsError(f"`{name}` is {_WORDS[type(default)]}, not {value!r}")
    if isinstance(value, int) and not isinstance(value, bool) and value <= 0:
        raise SettingsError(f"`{name}` is more than 0, not {value!r}")
    return value


_WORDS = {str: "a text", bool: "true or false", int: "a whole number"}
