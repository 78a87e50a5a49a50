"""Whether a script runs all lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invariants.checkout import Checkout

LANE = '[[branch.lanes]]\nid = "l"\ntarget = "t"\n'


def test_a_script_runs_every_branch_lane(empty: Checkout) -> None:
    empty.write("named.sh", "# all\nlanes=(t)\n")
    empty.write("asks.sh", "pikaci lanes --json\n")
    empty.rule("lane-runner", ["*.sh"], lanes="lanes.toml")
    empty.write("lanes.toml", LANE + LANE.replace('"t"', '"u"'))
    assert empty.found() == [("named.sh", 2, "does not run u of lane l")]


def test_lanes_that_are_no_toml_are_told_with_their_line(empty: Checkout) -> None:
    empty.write("lanes.toml", 'version = 1\n[[branch.lanes]\nid = "l"\n')
    empty.write("run.sh", "lanes=(t)\n")
    empty.rule("lane-runner", ["run.sh"], lanes="lanes.toml")
    ((file, line, what),) = empty.found()
    assert (file, line) == ("lanes.toml", 2)
    assert what.startswith("not TOML")
