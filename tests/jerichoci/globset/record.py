"""Record what the `rg` on PATH, which has globset, says of patterns and names.

`rg -g /PATTERN` is a glob from the top with literal separators. Run it with the rg to record:
`python tests/jerichoci/globset/record.py`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
OTHERS = 400
"""Of the patterns at random that match nothing or are refused."""


def lines(name: str) -> list[str]:
    return Path(__file__).with_name(name).read_text().splitlines()


def random_patterns(count: int) -> list[str]:
    pieces = lines("pieces.txt")
    chosen = random.Random(4)  # noqa: S311 - no secret
    return ["".join(chosen.choices(pieces, k=chosen.randint(2, 7))) for _ in range(count)]


def matching(top: str, pattern: str) -> tuple[str, ...] | None:
    """The names that rg says match; None if the pattern is refused."""
    argv = ["rg", "--no-config", "--files", "--hidden", "--no-ignore", "--null", f"-g/{pattern}"]
    done = subprocess.run(argv, cwd=top, capture_output=True, check=False)
    if b"error parsing glob" in done.stderr:
        return None
    assert not done.stderr, (pattern, done.stderr)
    found = done.stdout.split(b"\0")[:-1]
    return tuple(sorted(os.fsdecode(name).removeprefix("./") for name in found))


def main() -> None:
    names, asked = lines("names.txt"), lines("patterns.txt")
    with tempfile.TemporaryDirectory() as top:
        for name in names:
            path = Path(top, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        answers: dict[tuple[str, ...] | None, list[str]] = {}
        others = 0
        for pattern in dict.fromkeys((*asked, *random_patterns(6000))):
            # As an ignore rule, rg gives a `/` at the end or the beginning a meaning of its own.
            if pattern.startswith("/") or pattern.endswith(("/", " ")):
                continue
            found = matching(top, pattern)
            others += not found
            if found or pattern in asked or others < OTHERS:
                answers.setdefault(found, []).append(pattern)
    version = subprocess.run(["rg", "--version"], capture_output=True, text=True, check=True).stdout
    head = json.dumps({"rg": version.splitlines()[0], "names": names}, ensure_ascii=False)
    rows = [{"matches": found, "patterns": patterns} for found, patterns in answers.items()]
    listed = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    RECORDED.write_text(f'{head[:-1]}, "answers": [\n{listed}\n]}}\n')


if __name__ == "__main__":
    main()
