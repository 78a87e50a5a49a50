"""Whatever is damaged below a state root, the other runs are listed, and gc removes them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mutated import DEAD, FILES, OVER, ROOT_FILES, WHOLE, Victim, inside, odd_ends, seeded

if TYPE_CHECKING:
    from pathlib import Path

READ = ("run.json", "events.jsonl", "owner.lock", "jobs/it/status.json")
"""What is read of each run."""
SOME = 4


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victim:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Victim(tmp_path)


@pytest.mark.parametrize("run_id", [OVER, DEAD])
@pytest.mark.parametrize("file", READ)
def test_a_damaged_record_costs_its_run(victim: Victim, file: str, run_id: str) -> None:
    assert [why for way in WHOLE if (why := victim.wrong(file, way, run_id))] == []


@pytest.mark.parametrize("file", [file for file in FILES + ROOT_FILES if file not in READ])
def test_other_damage_costs_nothing(victim: Victim, file: str) -> None:
    ways = seeded(len(file)).sample(WHOLE, SOME)
    assert [why for way in ways if (why := victim.wrong(file, way, DEAD))] == []


def test_an_odd_end_is_none(victim: Victim) -> None:
    ways = odd_ends(DEAD)
    assert [why for way in ways if (why := victim.wrong("events.jsonl", way, DEAD))] == []


@pytest.mark.parametrize("file", READ[:2])
def test_changes_within_a_record_cost_its_run(victim: Victim, file: str) -> None:
    ways = [inside(seeded(number)) for number in range(30)]
    assert [why for way in ways if (why := victim.wrong(file, way, DEAD))] == []
