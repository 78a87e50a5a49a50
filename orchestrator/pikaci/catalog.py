"""The catalog at the working tree as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pikaci.sourcing import check_lanes, take_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pikaci.evaluation import Evaluator
    from pikaci.location import FlakeOptions


async def load_catalog(flake: FlakeOptions) -> Mapping[str, Any]:
    """The catalog of the flake's working tree, as `pikaci.<system>.catalog` has it."""
    evaluator = await open_tree(flake, read_only=True)
    return (await evaluator.catalog()).values


async def open_tree(flake: FlakeOptions, *, read_only: bool) -> Evaluator:
    """The flake at a snapshot of its working tree, to be asked."""
    taken = await take_tree(flake, None, read_only=read_only)
    check_lanes(taken.tree)
    return taken.evaluator
