"""Which server, and with which token: PH_URL and PH_TOKEN, else what `ph login` kept."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ph.errors import NotAllowedError, UsageError

HINT = "`ph login URL` keeps both; PH_URL and PH_TOKEN go before that"


@dataclass(frozen=True)
class Login:
    """A server and a token for it."""

    url: str
    token: str


def config_path() -> Path:
    """Where `ph login` keeps what it was given."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "ph" / "config.toml"


def load_login() -> Login:
    """The server to ask, and the token."""
    url, token = os.environ.get("PH_URL"), os.environ.get("PH_TOKEN")
    kept = Login("", "")
    if not (url and token):
        kept = _kept()
    if not (url or kept.url):
        raise UsageError("no server is known", HINT)
    if url and not token and kept.url and normal_url(url) != kept.url:
        raise NotAllowedError(f"there is no token for {url}", f"the one kept is for {kept.url}")
    if not (token or kept.token):
        raise NotAllowedError("no token is known", HINT)
    return Login(normal_url(url or kept.url), checked_token(token or kept.token))


def keep_login(login: Login) -> Path:
    """Write it where only its owner can read it."""
    path = config_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = f"url = {json.dumps(login.url)}\ntoken = {json.dumps(login.token)}\n"
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        temp.unlink()
    with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temp.replace(path)
    return path


def normal_url(url: str) -> str:
    """A server's address without a slash at its end."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is looked at when it is asked for
        url.encode("ascii")
    except ValueError as error:
        raise UsageError(f"{url} is not a server's address: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url} is not a server's address", "it looks like http://forge:8420")
    if parts.username or parts.query or parts.fragment:
        raise UsageError(f"{url} has more than a server's address", "leave out user and query")
    return url.rstrip("/")


def checked_token(token: str) -> str:
    """A token that can be sent."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise NotAllowedError("this is no token", "it begins with `ph_`, and has no spaces")
    return token


def _kept() -> Login:
    import tomllib

    path = config_path()
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Login("", "")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}", "`ph login URL` writes it") from None
    return Login(str(values.get("url", "")), str(values.get("token", "")))
