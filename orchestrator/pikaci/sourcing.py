"""From what a person points at to what a run runs on: a snapshot, a plan, the tree of its jobs."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from jerichoci.errors import CatalogError, UsageError
from jerichoci.snapshot.repository import open_repository
from jerichoci.snapshot.snapshot import Snapshot, take_snapshot
from jerichoci.state.credentials import without_credentials
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_id
from jerichoci.state.trace import span
from pikaci.evaluation import Evaluated, Evaluator
from pikaci.flake_files import FlakeFiles
from pikaci.location import LANES_FILE, FlakeOptions, SourceTree, find_source, state_layout
from pikaci.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from jerichoci.plan.plan import Plan
    from jerichoci.run.request import Source
    from jerichoci.state.layout import StateLayout
    from pikaci.lanes import Lanes
    from pikaci.source import SourceSpec

FLAKE_FILE = "flake.nix"
ENGINE = "jerichoci.run.engine"
"""Imported while git and Nix work: the models cost a tenth of a second."""


@dataclass(frozen=True)
class Planned:
    """A target at a snapshot, made concrete."""

    plan: Plan
    source: Source
    tree: SourceTree
    state: StateLayout
    nix_version: str


@dataclass(frozen=True)
class Taken:
    """A snapshot of a tree, and the flake in it, to be evaluated.

    `rev` is a commit of a source, `url` where that is, without credentials, and `repository` the
    same if it is on this machine. Then the files may be nowhere but in the snapshot: `has_files` is
    whether `tree` has them.
    """

    tree: SourceTree
    state: StateLayout
    snapshot: Snapshot
    evaluator: Evaluator
    rev: str | None = None
    url: str | None = None
    repository: Path | None = None
    has_files: bool = True

    async def lanes(self) -> Lanes | None:
        """The lanes, if there is a lanes file."""
        if self.has_files:
            from pikaci.lanes import lanes_of

            return lanes_of(self.tree)
        return await _lanes_in(self.state, self.snapshot, self.tree.flake_dir)


async def take_tree(flake: FlakeOptions, source: str | None, *, read_only: bool) -> Taken:
    """Take a snapshot of the flake's working tree, or of a source."""
    if source is not None:
        return await _take_source(flake, source, read_only=read_only)
    tree = find_source(flake.directory)
    state = state_layout(flake.state_root, str(tree.root))
    state.make()
    with span("take snapshot"):
        snapshot = await take_snapshot(state.root, tree.root)
    print_notes(snapshot.notes)
    files = FlakeFiles(tree, snapshot, state.root)
    evaluator = _evaluator(flake, state, snapshot, tree.flake_dir, read_only=read_only)
    return Taken(tree, state, snapshot, replace(evaluator, files=files))


def _evaluator(
    flake: FlakeOptions, state: StateLayout, snapshot: Snapshot, flake_dir: str, *, read_only: bool
) -> Evaluator:
    reference = flake_reference(state, snapshot.tree, snapshot.commit, flake_dir)
    return Evaluator(state, reference, flake.nix, flake.system, read_only)


async def open_tree(flake: FlakeOptions, *, read_only: bool) -> Evaluator:
    """The flake at a snapshot of its working tree, to be asked."""
    taken = await take_tree(flake, None, read_only=read_only)
    await taken.lanes()
    return taken.evaluator


async def load_catalog(flake: FlakeOptions) -> Mapping[str, Any]:
    """The catalog of the flake's working tree, as `pikaci.<system>.catalog` has it."""
    return (await (await open_tree(flake, read_only=True)).catalog()).values


async def make_plan(
    target: str, flake: FlakeOptions, source: str | None, *, read_only: bool
) -> Planned:
    """Snapshot a flake or a source, evaluate the target's plan there, derive the jobs' tree."""
    check_id(target, "target")
    taken = await take_tree(flake, source, read_only=read_only)
    planning = taken.evaluator.plan(target)
    try:
        evaluated = await _meanwhile(planning, lambda: _get_ready(taken))
    except CatalogError as error:
        message = error.message
        taken.snapshot.lacks.check(lambda name: name.rstrip("/") not in message)
        raise
    from jerichoci.plan.known import read_plan

    origin = f"the plan of target {target}"
    with span("read plan"):
        plan = read_plan(evaluated.values, origin, taken.state.answers)
    source_of_jobs = await jobs_source(plan, taken)
    return Planned(plan, source_of_jobs, taken.tree, taken.state, evaluated.nix_version)


def importing_engine() -> None:
    """Begin to import the engine. Not waited for: where the snapshot fails, it is not needed."""
    threading.Thread(target=_import_engine, daemon=True).start()


def _import_engine() -> None:
    with span("import engine"):
        import_module(ENGINE)


async def _meanwhile(work: Coroutine[Any, Any, Evaluated], task: Callable[[], None]) -> Evaluated:
    """Start `work`, do `task` in a thread while it runs, and wait for both.

    What `task` raises comes first, whether `work` fails or not. It is not done if there is nothing
    to wait for.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.sleep(0)  # until its process runs
        if not working.done():
            await asyncio.to_thread(task)
        return await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _get_ready(taken: Taken) -> None:
    if taken.has_files:
        from pikaci.lanes import lanes_of

        lanes_of(taken.tree)  # Nix's message about an invalid file has neither line nor column
    import_module(ENGINE)


async def take_commit(flake: FlakeOptions, rev: str, *, read_only: bool) -> Taken:
    """Take a snapshot of a commit of the working tree's repository."""
    from pikaci.changes import resolve
    from pikaci.source import SourceSpec

    tree = find_source(flake.directory)
    commit = await resolve(tree.root, rev)
    spec = SourceSpec(tree.root.as_uri(), commit)
    state = state_layout(flake.state_root, str(tree.root))
    state.make()
    inner = replace(flake, directory=tree.flake_dir or None)
    return await _take_spec(inner, spec, state, read_only=read_only)


async def _take_source(flake: FlakeOptions, source: str, *, read_only: bool) -> Taken:
    from pikaci.source import parse_source

    spec = parse_source(source)
    state = state_layout(flake.state_root, spec.url)
    state.make()
    return await _take_spec(flake, spec, state, read_only=read_only)


async def _take_spec(
    flake: FlakeOptions, spec: SourceSpec, state: StateLayout, *, read_only: bool
) -> Taken:
    from pikaci.commit import local_repository, snapshot_of_commit
    from pikaci.source import fetch_source

    repository = local_repository(spec.url)
    if repository and (snapshot := await snapshot_of_commit(state.root, repository, spec.rev)):
        flake_dir = await _flake_dir(state, snapshot, flake.directory)
        await _lanes_in(state, snapshot, flake_dir)
        tree, has_files = SourceTree(repository, flake_dir), False
    else:
        fetched, program = await fetch_source(spec, state.root / "sources")
        click.echo(f"pikaci: source {spec.rev[:12]} fetched by {program}", err=True)
        top = fetched.resolve()
        found = find_source(str(top / (flake.directory or "")))
        flake_dir = os.path.relpath(found.root / found.flake_dir, top)
        tree, has_files = SourceTree(top, "" if flake_dir == "." else flake_dir), True
        snapshot = await take_snapshot(state.root, tree.root, whole=True)
        snapshot = replace(snapshot, git_head=spec.rev, git_dirty=False)
    print_notes(snapshot.notes)
    evaluator = _evaluator(flake, state, snapshot, tree.flake_dir, read_only=read_only)
    return Taken(tree, state, snapshot, evaluator, spec.rev, spec.shown_url, repository, has_files)


async def _flake_dir(state: StateLayout, snapshot: Snapshot, directory: str | None) -> str:
    """The directory of the flake in a snapshot."""
    name = os.path.normpath(directory or ".")
    inner = "" if name == "." else name
    if await _content(state, snapshot, inner, FLAKE_FILE) is None:
        where = f"{inner} of " if inner else ""
        hint = "give its directory in the repository with --flake"
        raise UsageError(f"there is no flake.nix in {where}{(snapshot.git_head or '')[:12]}", hint)
    return inner


async def _lanes_in(state: StateLayout, snapshot: Snapshot, flake_dir: str) -> Lanes | None:
    from pikaci.lanes import parse_lanes

    content = await _content(state, snapshot, flake_dir, str(LANES_FILE))
    origin = str(PurePosixPath(flake_dir) / LANES_FILE)
    return None if content is None else parse_lanes(content, origin)


async def _content(
    state: StateLayout, snapshot: Snapshot, flake_dir: str, name: str
) -> bytes | None:
    """A file in a snapshot; None if there is none."""
    git = (await open_repository(state.root)).git
    done = await git.run("cat-file", "blob", f"{snapshot.tree}:{PurePosixPath(flake_dir) / name}")
    return done.stdout if done.ok else None


async def jobs_source(plan: Plan, taken: Taken) -> Source:
    """What the jobs of a plan run on: the snapshot without what the plan excludes."""
    from jerichoci.machine.glob import compile_globs
    from jerichoci.run.request import Source

    snapshot, rev = taken.snapshot, taken.rev
    globs = compile_globs(plan.snapshot.exclude)
    print_notes(snapshot.lacks.check(lambda path: globs.match(path) is not None))
    jobs_tree = snapshot.tree
    if plan.snapshot.exclude:
        from jerichoci.snapshot.exclude import without_excluded

        jobs_tree = await without_excluded(
            await open_repository(taken.state.root),
            snapshot.tree,
            plan.snapshot.exclude,
            lambda path: globs.match(path) is not None,
        )
    return Source(
        tree=snapshot.tree,
        snapshot_id=jobs_tree,
        root=str(taken.tree.root),
        rev=rev,
        flake_dir=taken.tree.flake_dir or None,
        git_head=snapshot.git_head,
        git_dirty=snapshot.git_dirty,
        url=taken.url,
        overrides={
            name: without_credentials(url) for name, url in taken.evaluator.options.override_inputs
        },
    )


def print_notes(notes: Iterable[str]) -> None:
    """Print what a user may miss in a snapshot."""
    for note in notes:
        click.echo(f"pikaci: {one_line(note)}", err=True)


def flake_reference(state: StateLayout, tree: str, commit: str, flake_dir: str) -> str:
    """The flake at a snapshot, as Nix fetches it from the state root's own repository."""
    place = quote(str(state.git))
    inner = f"&dir={quote(flake_dir)}" if flake_dir else ""
    return f"git+file://{place}?ref=refs/pikaci/{tree}&rev={commit}{inner}"
