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
    assert victim.wrong(run_id, ((file, way) for way in WHOLE)) == []


def test_other_damage_to_a_run_costs_nothing(victim: Victim) -> None:
    files = [file for file in FILES if file not in READ]
    some = [(file, way) for file in files for way in seeded(len(file)).sample(WHOLE, SOME)]
    assert victim.wrong(DEAD, some) == []


@pytest.mark.parametrize("file", ROOT_FILES)
def test_damage_to_what_is_no_runs_costs_nothing(victim: Victim, file: str) -> None:
    for way in seeded(len(file)).sample(WHOLE, SOME):
        assert victim.wrong(DEAD, [(file, way)]) == []


def test_an_odd_end_is_none(victim: Victim) -> None:
    assert victim.wrong(DEAD, (("events.jsonl", way) for way in odd_ends())) == []


@pytest.mark.parametrize("file", READ[:2])
def test_changes_within_a_record_cost_its_run(victim: Victim, file: str) -> None:
    assert victim.wrong(DEAD, ((file, inside(seeded(number))) for number in range(30))) == []
