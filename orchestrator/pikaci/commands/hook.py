"""`pikaci hook`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import click

from jerichoci.exit_codes import EXIT_CANCELLED, EXIT_PASSED
from pikaci import options

if TYPE_CHECKING:
    from pikaci.location import FlakeOptions


@click.group("hook")
def hook_command() -> None:
    """Run what a push would run, before git pushes: the lanes that the pushed change selects.

    \b
    pikaci hook install     from now on, `git push` stops if a target fails
    git push --no-verify    push without it
    """


@hook_command.command("install", short_help="Install git's pre-push hook.")
@options.flake
def install_command(flake: str | None) -> None:
    """Install git's pre-push hook in this repository, for all of its work trees."""
    from pikaci.hook import find_hook, install
    from pikaci.location import find_source

    tree = find_source(flake)
    hook = asyncio.run(find_hook(tree.root))
    install(hook, ("--flake", tree.flake_dir) if tree.flake_dir else ())
    click.echo(f"installed {hook.path}; `git push --no-verify` pushes without it", err=True)
    if not tree.lanes_file.is_file():
        click.echo(f"there is no {tree.lanes_file} yet: without it, nothing is run", err=True)


@hook_command.command("uninstall", short_help="Remove the hook.")
@options.flake
def uninstall_command(flake: str | None) -> None:
    """Remove the hook that `pikaci hook install` made."""
    from pikaci.hook import find_hook, uninstall
    from pikaci.location import find_source

    hook = asyncio.run(find_hook(find_source(flake).root))
    done = "removed" if uninstall(hook) else "there is no"
    click.echo(f"{done} {hook.path}", err=True)


@hook_command.command("pre-push", short_help="What the hook runs, started by git.")
@click.argument("remote")
@click.argument("url", required=False, expose_value=False)
@options.flake_options
def pre_push_command(remote: str, flake: FlakeOptions) -> int:
    """Run what the push that git is about to make would run. stdin has its refs, as git has it."""
    code = asyncio.run(_pre_push(remote, flake))
    if code not in {EXIT_PASSED, EXIT_CANCELLED}:
        click.echo(
            "pikaci: nothing is pushed; `git push --no-verify` pushes all the same", err=True
        )
    return code


async def _pre_push(remote: str, flake: FlakeOptions) -> int:
    from jerichoci.snapshot.git import repository_variables
    from pikaci.commands.run import RunFlags, run_planned
    from pikaci.location import find_source
    from pikaci.push import MOST_BYTES, parse_pushed, plan_push

    for name in await repository_variables():
        os.environ.pop(name, None)  # by which git tells a hook of its repository: Nix asks others
    text = sys.stdin.buffer.read(MOST_BYTES).decode("utf-8", "surrogateescape")
    tree = find_source(flake.directory)
    works = {}
    for pushed in parse_pushed(text):
        for work in await plan_push(pushed, remote, tree, flake):
            works[work.planned.plan.target_id, work.planned.source.tree] = work
    flags = RunFlags(
        output="human",
        max_jobs=None,
        fail_fast=False,
        keep="never",
        wait_removal=False,
        run_id=None,
        print_logs=False,
    )
    return await run_planned(list(works.values()), flake.nix, flags, is_batch=True)
