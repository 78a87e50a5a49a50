from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from forge_pushes import LANES, MAIN, Pushes
from pika_git.forge_runtime import nightly

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.pikaci_process import Pikaci

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def forge(tmp_path: Path, warm: Pikaci) -> Pushes:
    """Registered at noon, with nightly lanes at 03:00."""
    return Pushes.below(tmp_path, now=NOON.timestamp(), pikaci=warm).with_lanes()


def at(forge: Pushes, time: datetime) -> int | None:
    object.__setattr__(forge.database, "now", time.timestamp())
    return nightly.due(forge.database, forge.repo)


def slots(forge: Pushes) -> list[tuple[str, str]]:
    rows = forge.rows("SELECT slot_at, state FROM nightly_slot ORDER BY slot_at")
    return [(f"{datetime.fromtimestamp(row.slot_at, UTC):%d %H:%M}", row.state) for row in rows]


def test_nightly_lanes_run_once_at_their_time_in_utc(forge: Pushes) -> None:
    night = NOON.replace(day=2, hour=3)
    assert at(forge, NOON) is None
    assert at(forge, night - timedelta(seconds=1)) is None
    assert at(forge, night) is not None
    assert at(forge, night + timedelta(hours=1)) is None
    forge.plan()
    (run,) = [row for row in forge.runs() if row.kind == "nightly"]
    assert (run.ref, run.head) == (MAIN, forge.git("rev-parse", MAIN))
    assert forge.lanes(run.id) == {"night": "queued"}
    (lane,) = forge.rows("SELECT * FROM lane WHERE run_id = :run", run=run.id)
    assert lane._mapping["class"] == 2
    assert slots(forge) == [("02 03:00", "run")]


def test_of_missed_nights_the_newest_runs_once(forge: Pushes) -> None:
    assert at(forge, NOON + timedelta(days=3)) is not None
    assert at(forge, NOON + timedelta(days=3, hours=1)) is None
    assert slots(forge) == [("02 03:00", "missed"), ("03 03:00", "missed"), ("04 03:00", "run")]
    notes = [row.note for row in forge.rows("SELECT note FROM nightly_slot ORDER BY slot_at")]
    assert notes == ["run 1 caught up a later one"] * 2 + ["caught up 9 h late"]


def test_a_year_without_a_service_is_noted_in_part(forge: Pushes) -> None:
    assert at(forge, NOON + timedelta(days=365)) is not None
    assert len(slots(forge)) <= nightly.MOST_MISSED + 1


def test_the_head_says_when(forge: Pushes) -> None:
    forge.project.lanes(LANES.replace("03:00", "20:30"))
    forge.tree.commit()
    forge.push("HEAD:refs/heads/main")
    assert at(forge, NOON.replace(hour=20, minute=29)) is None
    assert at(forge, NOON.replace(hour=20, minute=30)) is not None


@pytest.mark.parametrize(
    "lanes",
    ["", '\nnightly_schedule_utc = "25:00"\n', "\n[[", "\nnightly = 3", LANES + "#" * 1024**2],
)
def test_without_nightly_lanes_nothing_runs(forge: Pushes, lanes: str) -> None:
    forge.project.lanes(lanes)
    forge.tree.commit()
    forge.push("HEAD:refs/heads/main")
    assert at(forge, NOON + timedelta(days=2)) is None
    assert slots(forge) == []


def test_an_empty_repository_has_no_nights(tmp_path: Path) -> None:
    forge = Pushes.below(tmp_path, now=NOON.timestamp())
    assert at(forge, NOON + timedelta(days=2)) is None
