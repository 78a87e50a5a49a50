from __future__ import annotations

from typing import TYPE_CHECKING

from forge_pushes import Pushes

if TYPE_CHECKING:
    from pathlib import Path


def test_a_push_is_planned_and_its_lanes_wait_in_the_queue(tmp_path: Path) -> None:
    forge = Pushes.below(tmp_path).with_lanes()
    run = forge.plan()
    assert (run.state, run.kind, run.ref) == ("queued", "branch", "refs/heads/main"), run
    assert forge.lanes() == {"unit": "queued", "docs": "queued"}
