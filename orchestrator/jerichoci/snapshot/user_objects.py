"""A first snapshot's objects, taken over from the user's repository as one pack.

Without it a first snapshot of a large tree would write each file's object by itself.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from jerichoci.machine.process import child
from jerichoci.snapshot.git import GIT_DEADLINE_SECS

if TYPE_CHECKING:
    from jerichoci.snapshot.git import Git
    from jerichoci.snapshot.repository import Repository

SHA1_LENGTH = 40


async def copy_user_objects(repository: Repository, user: Git, tree: str) -> None:
    """Copy all objects of `tree`, without history, into the private repository.

    What can't be copied (a partial clone hasn't got it, a SHA-256 repository names it differently)
    is made from the files later.
    """
    if len(tree) != SHA1_LENGTH:
        return
    pack = user.argv("pack-objects", "--revs", "--stdout", "--quiet", "--missing=allow-any")
    index = repository.git.argv("index-pack", "--stdin")
    near, far = os.pipe()
    try:
        async with (
            asyncio.timeout(GIT_DEADLINE_SECS),
            child(
                pack,
                cwd=user.cwd,
                env=user.environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=far,
                stderr=asyncio.subprocess.DEVNULL,
            ) as packing,
            child(
                index,
                cwd=repository.path,
                env=repository.git.environment(),
                stdin=near,
                stderr=asyncio.subprocess.DEVNULL,
            ) as indexing,
        ):
            os.close(far)
            far = -1
            await packing.communicate(f"{tree}\n".encode())
            await indexing.communicate()
    except TimeoutError:
        return
    finally:
        os.close(near)
        if far >= 0:
            os.close(far)
