"""Which lanes a change selects, and why.

A branch lane is selected when one of its globs matches one of the changed files, or when it has no
globs. Nightly lanes are the schedule's, not a change's. Of several matches the reason names the
first changed file that matches, and the first glob that matches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.errors import CatalogError, UsageError
from jerichoci.state.dataclass import dataclass
from pikaci.changes import changed_between, file_at
from pikaci.lanes import Lane, Lanes, Trigger, parse_lanes
from pikaci.location import LANES_FILE
from pikaci.nearest import did_you_mean
from pikaci.screen import as_utf8, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SELECTION_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Selection:
    """Whether a change selects a lane, by which file and glob, and why, in a sentence."""

    lane: Lane
    selected: bool
    reason: str
    matched_path: str | None = None
    matched_glob: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Its form in JSON."""
        return {
            **{name: value for name, value in self.lane.as_dict().items() if name != "paths"},
            "selected": self.selected,
            "reason": self.reason,
            "matched_path": None if self.matched_path is None else as_utf8(self.matched_path),
            "matched_glob": self.matched_glob,
        }


@dataclass(frozen=True)
class SelectionReport:
    """The answer to `select --base A --head B`; without base, nothing says what changed."""

    base: str | None
    head: str
    changed_files: tuple[str, ...]
    selections: tuple[Selection, ...]
    nightly_schedule_utc: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Its form in JSON: what `select --json` prints."""
        return {
            "schema_version": SELECTION_SCHEMA_VERSION,
            "base": self.base,
            "head": self.head,
            "changed_files": [as_utf8(path) for path in self.changed_files],
            "lanes": [selection.as_dict() for selection in self.selections],
        }

    def as_text(self) -> str:
        """Its form for people: a line a lane, selected ones first."""
        files = _counted(len(self.changed_files), "changed file")
        width = max((len(found.lane.id) for found in self.selections), default=0)
        ordered = sorted(self.selections, key=lambda found: not found.selected)
        lines = [
            f"  {'+' if found.selected else '-'} {found.lane.id:<{width}}  {found.reason}"
            for found in ordered
        ]
        chosen = sum(found.selected for found in self.selections)
        by = f" by {files}" if self.base else ""
        head = f"{chosen} of {_counted(len(self.selections), 'lane')} selected{by}"
        change = f"{self.base[:12]}...{self.head[:12]}" if self.base else self.head[:12]
        return "\n".join([f"{head} ({change})", *lines])


def select(lanes: Lanes, changed_paths: Sequence[str]) -> list[Selection]:
    """What `changed_paths` select, for every lane in the file's order."""
    return [_selection(lane, lanes, changed_paths) for lane in lanes.lanes]


async def select_change(
    repo: Path,
    base: str,
    head: str,
    lanes_path: str = str(LANES_FILE),
    lanes_of: str | None = None,
) -> SelectionReport:
    """What the change from `base` to `head` selects, by the lanes file at `lanes_of`.

    The lanes are those of the head by default because a branch may change its own lanes.
    """
    change = await changed_between(repo, base, head)
    lanes = await lanes_at(repo, lanes_of or head, lanes_path)
    selections = tuple(select(lanes, change.paths))
    schedule = lanes.nightly_schedule_utc
    return SelectionReport(change.base, change.head or head, change.paths, selections, schedule)


async def lanes_at(repo: Path, head: str, lanes_path: str = str(LANES_FILE)) -> Lanes:
    """The lanes of a commit."""
    content = await file_at(repo, head, lanes_path)
    if content is None:
        hint = "commit it; where git ignores it, `git add -f` it first"
        raise CatalogError(f"{lanes_path}: there is no such file at {head}", hint)
    return parse_lanes(content, f"{lanes_path} at {head}")


def select_named(lanes: Lanes, names: Sequence[str]) -> list[Selection]:
    """The lanes that are asked for by their ids, whatever has changed."""
    known = {lane.id for lane in lanes.lanes}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, sorted(known)) or "`pikaci lanes` lists them"
            raise UsageError(f"{lanes.origin} has no lane {name!r}", hint)
    return [_asked(lane, "asked for by name", asked=lane.id in names) for lane in lanes.lanes]


def select_all(lanes: Lanes, trigger: Trigger) -> list[Selection]:
    """All lanes of a trigger: nightly ones, or those of a change that is not known."""
    reason = "runs every night" if trigger is Trigger.NIGHTLY else "any file may have changed"
    return [_asked(lane, reason, asked=lane.trigger is trigger) for lane in lanes.lanes]


def _asked(lane: Lane, reason: str, *, asked: bool) -> Selection:
    return Selection(lane, asked, reason if asked else "not asked for")


def target_filter(
    lanes: Lanes, target_id: str, changed_paths: Sequence[str]
) -> tuple[bool, str, tuple[str, ...]]:
    """Whether path filters let `run TARGET --changed-since` run, why, and the globs of them.

    One of the target's branch lanes must be selected; without such lanes it always runs.
    """
    own = [
        lane for lane in lanes.lanes if lane.target == target_id and lane.trigger is Trigger.BRANCH
    ]
    if not own:
        return True, f"no branch lane of {lanes.origin} filters it", ()
    found = [_selection(lane, lanes, changed_paths) for lane in own]
    deciding = [selection for selection in found if selection.selected][:1] or found
    reason = "; ".join(f"lane {each.lane.id}: {each.reason}" for each in deciding)
    return deciding[0].selected, reason, tuple(glob for lane in own for glob in lane.paths)


def _selection(lane: Lane, lanes: Lanes, changed_paths: Sequence[str]) -> Selection:
    if lane.trigger is Trigger.NIGHTLY:
        at = f"nightly at {lanes.nightly_schedule_utc} UTC, not selected by changes"
        return Selection(lane, selected=False, reason=at)
    if not lane.paths:
        return Selection(lane, selected=True, reason="no path filter: always")
    for path in changed_paths:
        if glob := lane.globs.match(path):
            reason = f"{one_line(path)} matches {one_line(glob)}"
            return Selection(lane, True, reason, path, glob)  # noqa: FBT003 - the class's 2nd field
    files, globs = _counted(len(changed_paths), "changed file"), _counted(len(lane.paths), "glob")
    return Selection(lane, selected=False, reason=f"none of {files} matches its {globs}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
