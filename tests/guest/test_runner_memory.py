"""What the runner reads of control groups, in the words of both of their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guest.guest import load_runner

if TYPE_CHECKING:
    from pathlib import Path

OLD = ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n")
NEW = ("memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill {}\noom_group_kill 0\n")


@pytest.mark.parametrize("place", ["/.lxc", "/a/b", "/", ""])
@pytest.mark.parametrize("files", [OLD, NEW])
def test_kills_and_limits_are_those_of_the_group_or_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, str], place: str
) -> None:
    runner = load_runner()
    is_old = files is OLD
    name, text = files
    limit, none = (
        ("memory.limit_in_bytes", "9223372036854771712") if is_old else ("memory.max", "max")
    )
    monkeypatch.setattr(runner, "_is_container", lambda: True)
    monkeypatch.setattr(
        runner.Memory,
        "_look",
        lambda memory, _paths: memory._read_groups(str(tmp_path), place, is_old=is_old),
    )
    (tmp_path / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    assert runner.Memory(None).found() == {"memory_limited": False}
    (tmp_path / name).write_text(text.format(1))
    (tmp_path / limit).write_text(f"{64 << 20}\n")
    memory = runner.Memory(None)
    assert memory.found() == {}
    (tmp_path / name).write_text(text.format(3))
    assert memory.found() == {"oom_kills": 2}
    (tmp_path / limit).write_text(f"{none}\n")
    assert runner.Memory(None).found() == {"memory_limited": False}
    monkeypatch.setattr(runner, "_is_container", lambda: False)
    assert runner.Memory(None).found() == {}
