"""Snapshots on their way to a remote host: git objects, and only those that it lacks.

What comes over is a pack, which git takes whole or not at all; the ref that says that a snapshot is
complete is made there afterwards. A connection that breaks meanwhile is waited for, and the pack is
sent again.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError, is_disk_full
from jerichoci.machine import process
from jerichoci.placement import operations
from jerichoci.remote.agent import agent_operations as host
from jerichoci.remote.host_refusals import full
from jerichoci.remote.program import far_program, finish, persistently
from jerichoci.remote.ssh.errors import HostError
from jerichoci.snapshot.git import git_environment, pack_argv, private_variables, take_pack_argv
from jerichoci.snapshot.repository import REPOSITORY_WAIT_SECS, Repository

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.remote.session import Session

CHUNK_BYTES = 256 * 1024
TREE = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
REMOVE_SECS = 60.0
"""For a file to be removed from a slow disk."""
SENDING_SECS = 3600.0
"""For a pack of some GiB over a slow line."""


async def bring_snapshot(session: Session, state_root: Path, tree: str, run: Path) -> Path:
    """Have the snapshot `tree` on a host, where the run's directory `run` is; where it is there."""
    try:
        async with asyncio.timeout(SENDING_SECS):
            return await _bring(session, Repository.at(state_root), tree, run)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the snapshot was not on {session.name} within {SENDING_SECS:g} s",
            "is the line that slow? Ignore what jobs don't need",
        ) from error
    except HostError:
        raise
    except (UsageError, InfrastructureError) as error:
        # The message is about the host's work directory, which no user here has named.
        raise InfrastructureError(
            f"no snapshot can be had on {session.name}: {error.message}",
            f"make that the user's there, or name another `work_dir` of [hosts.{session.name}]",
        ) from error


async def _bring(session: Session, repository: Repository, tree: str, run: Path) -> Path:
    if made := await session.do(host.made_snapshot, tree, run):
        return made
    async with session.hold(operations.lock, "git", REPOSITORY_WAIT_SECS, shared=True):
        found = await session.do(host.find_snapshot, tree, run)
        if found.path is not None:
            return found.path
        trees = [base for base in found.bases if TREE.fullmatch(base)]
        known = await asyncio.gather(*(_has(repository, base) for base in trees))
        bases = [base for base, has in zip(trees, known, strict=True) if has]
        await persistently(session, lambda: _send(session, repository, tree, bases, found.git))
        return await session.do(host.keep_snapshot, tree)


async def _has(repository: Repository, tree: str) -> bool:
    return (await repository.git.run("cat-file", "-e", f"{tree}^{{tree}}")).ok


async def _send(
    session: Session, repository: Repository, tree: str, bases: list[str], there: Path
) -> None:
    """Send a pack of what a tree has and the bases have not."""
    import asyncssh

    wanted = "".join([f"{tree}\n", *(f"^{base}\n" for base in bases)]).encode()
    # A name by which what came in part can be removed; of a few objects there is no pack.
    pack = there / "objects" / "pack" / f"pack-{os.urandom(20).hex()}.pack"
    taking = take_pack_argv(None if bases else pack)
    environment = git_environment(private=True) | {"GIT_DIR": str(repository.path)}
    async with (
        far_program(session, taking, private_variables(there)) as far,
        process.child(
            pack_argv(), cwd=repository.path, env=environment, stdin=asyncio.subprocess.PIPE
        ) as near,
    ):
        if near.stdin is None or near.stdout is None or near.stderr is None:
            raise InfrastructureError("git has no pipes")
        complaints = asyncio.create_task(near.stderr.read())
        with suppress(BrokenPipeError, ConnectionResetError):
            near.stdin.write(wanted)
            near.stdin.close()
        has_taken_all = True
        while has_taken_all and (data := await near.stdout.read(CHUNK_BYTES)):
            try:
                far.stdin.write(data)
                await far.stdin.drain()
            except (asyncssh.Error, OSError):
                # Git there has ended before its time; why, is among its last words.
                has_taken_all = False
        if has_taken_all and await near.wait():
            words = (await complaints).decode("utf-8", "replace").strip()
            raise InfrastructureError(f"`git pack-objects` failed: {words}")
        try:
            await finish(far, f"git on {session.name} can't take the snapshot")
        except InfrastructureError as error:
            session.post(operations.run, ["rm", "-f", str(pack)], REMOVE_SECS)
            if is_disk_full(error):
                raise full(session.name, str(session.facts.work_dir)) from error
            raise
