"""The table of docs/development.md names files that exist."""

from __future__ import annotations

import re

from invariants.checkout import ROOT

SHORT = {
    "J/": "orchestrator/jerichoci/",
    "P/": "orchestrator/pikaci/",
    "F/": "orchestrator/pika_git/",
}


def expanded(name: str) -> list[str]:
    """A name with each of the words that stand in braces."""
    before, brace, rest = name.partition("{")
    if not brace:
        return [name]
    words, _, after = rest.partition("}")
    return [found for word in words.split(",") for found in expanded(before + word + after)]


def test_each_file_that_a_change_touches_exists() -> None:
    page = (ROOT / "docs/development.md").read_text()
    table = page.partition("## Where a change goes")[2].partition("\n## ")[0]
    names = [name for text in re.findall(r"`(\w+/[^` ]*)`", table) for name in expanded(text)]
    assert len(names) > 40
    paths = [SHORT.get(name[:2], name[:2]) + name[2:] for name in names if "NAME" not in name]
    assert [path for path in paths if not (ROOT / path).exists()] == []
