"""Passwords and tokens in addresses: records, logs and messages never have them."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"(\bhttps?://)[^\s/@]+@")
"""To a web server, the name alone may be a token."""
_PASSWORD = re.compile(r"(\w://[^\s/@:]*):[^\s/@]*@")


def without_credentials(text: str) -> str:
    """A text without the credentials of the addresses in it."""
    if "://" not in text:
        return text
    return _PASSWORD.sub(r"\1:***@", _TOKEN.sub(r"\1***@", text))
