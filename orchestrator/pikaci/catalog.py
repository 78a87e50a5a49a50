"""The catalog at the working tree as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci.snapshot.snapshot import take_snapshot
from pikaci.evaluation import Evaluator
from pikaci.flake_files import FlakeFiles
from pikaci.location import find_source, state_layout
from pikaci.sourcing import check_lanes, flake_reference, print_notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pikaci.location import FlakeOptions


async def load_catalog(flake: FlakeOptions) -> Mapping[str, Any]:
    """The catalog of the flake's working tree, as `pikaci.<system>.catalog` says it."""
    evaluator = await open_tree(flake, read_only=True)
    return (await evaluator.catalog()).values


async def open_tree(flake: FlakeOptions, *, read_only: bool) -> Evaluator:
    """The flake at a snapshot of its working tree, to be asked."""
    source = find_source(flake.directory)
    check_lanes(source)
    state = state_layout(flake.state_root, source)
    state.make()
    snapshot = await take_snapshot(state.root, source.root)
    print_notes(snapshot.notes)
    reference = flake_reference(state, snapshot.tree, snapshot.commit, source.flake_dir)
    files = FlakeFiles(source, snapshot, state.root)
    return Evaluator(state, reference, flake.nix, flake.system, read_only, files)
