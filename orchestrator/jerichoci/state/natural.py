"""The order in which people count: f2 comes before f10."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+", re.ASCII)


def natural(name: str) -> str:
    """A key that sorts names by the numbers in them."""
    return _NUMBER.sub(lambda found: found[0].zfill(20), name)
