"""Text that looks like a secret.

Two ways to look like one: the shape of a well-known kind of token, or a string of high entropy that
is given to a name like `password`. Words, paths, placeholders and hashes of content are neither.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from tree import Finding

if TYPE_CHECKING:
    from tree import Findings, Names, Tree

MINIMUM_LENGTH = 16
MINIMUM_ENTROPY = 3.2
"""Bits per character; sixteen random hexadecimal digits have about 3.3, English words 3 at most."""

_TOKENS = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "a Google API key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "an API key": r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_]{24,}",
    "a package registry's token": r"\b(?:npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,})",
    "a Cachix or JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    "a nostr secret key": r"\bnsec1[02-9ac-hj-np-z]{58}\b",
    "an age secret key": r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
}
_KNOWN = [(what, re.compile(pattern)) for what, pattern in _TOKENS.items()]
_NAMED = re.compile(
    r"""(?ix) (?: passwo?r?d | passphrase | secret | token | api_?key | private_?key )
        [a-z0-9_-]* ["']? \s* (?: := | : (?:\s*str\s*=)? | = ) \s*
        ["'] (?P<value> [^"'\s]+ ) ["']"""
)
_VALUE = re.compile(r"[A-Za-z0-9+/=_.~!@#%^&*-]+")


def no_secrets(tree: Tree, files: Names) -> Findings:
    """Lines that look like they have a secret; the secret itself isn't repeated."""
    for file in files:
        for number, line in tree.lines(file):
            known = [what for what, pattern in _KNOWN if pattern.search(line)]
            if not known and any(_is_random(found["value"]) for found in _NAMED.finditer(line)):
                known = ["a secret given to a name"]
            for what in known:
                yield Finding(file, number, f"looks like {what}")


def _is_random(value: str) -> bool:
    """Whether a value is random: long, mixed, of high entropy, no path or name."""
    if len(value) < MINIMUM_LENGTH or not _VALUE.fullmatch(value):
        return False
    if value.startswith(("/", "./", "~")) or not re.search(r"\d", value):
        return False
    parts = re.split(r"[._/-]", value)
    if all(re.fullmatch(r"[a-z]*\d?|[A-Z]*\d?", part) for part in parts):
        return False  # words, as in a file's or a variable's name
    counts = Counter(value).values()
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
    return entropy >= MINIMUM_ENTROPY
