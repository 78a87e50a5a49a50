"""What is done on a job's host, wherever that is: `Placement.do` and `hold` call these."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from jerichoci.machine import cache_store, process, slots
from jerichoci.machine.confinement import Confinement
from jerichoci.machine.process import Completed
from jerichoci.machine.slots import Resources
from jerichoci.machine.workspace import Workspace
from jerichoci.nix import payload_files
from jerichoci.nix.guest_store import GuestStore, View
from jerichoci.placement.operation import held, operation
from jerichoci.placement.work import Work
from jerichoci.state import lock as locks
from jerichoci.state.layout import make_private
from jerichoci.state.remove_tree import remove_tree


@operation
async def run(
    _work: Work, argv: Sequence[str], deadline_secs: float, cwd: Path | None = None
) -> Completed:
    """Run a command to its end."""
    return await process.run(argv, deadline_secs=deadline_secs, cwd=cwd)


@operation
async def confinement(work: Work) -> Confinement:
    """What the kernel gives to hold a job."""
    return await work.confinement()


@operation
async def open_starter(work: Work) -> None:
    """Have the process that starts jobs."""
    await work.starter.open()


@operation
async def limitable(work: Work) -> list[str]:
    """What of a job can be limited: `cpu`, `memory`, `pids`."""
    return await work.limitable()


@held
async def slot(work: Work, wanted: Resources) -> AsyncIterator[None]:
    """Hold what a job takes of the host, waiting until there is room."""
    async with slots.holding(work.state.slots, work.capacity, wanted):
        yield


@held
async def lock(
    work: Work, name: str, deadline_secs: float, *, shared: bool = False
) -> AsyncIterator[None]:
    """Hold a lock of the state root, which is released when its process dies."""
    async with locks.lock(work.state.slots / f"{name}.lock", deadline_secs, shared=shared):
        yield


@held
async def guest_gate(
    work: Work, bridge: str, interface: str, allow: Sequence[str], directory: Path
) -> AsyncIterator[None]:
    """Let a guest reach these and no others; its hosts file is in the directory."""
    from jerichoci.machine import guest_gate as gates

    hosts = gates.prepare(directory)
    async with gates.guest_gate(work.state.root / "gates", bridge, interface, allow, hosts):
        yield


@operation
async def remove_left_gates(work: Work) -> None:
    """Remove what keeps the networks of guests that are gone."""
    notes = work.state.root / "gates"
    if notes.is_dir():
        from jerichoci.machine import guest_gate as gates

        await asyncio.to_thread(gates.remove_left, notes)


@operation
async def make_directory(_work: Work, path: Path) -> None:
    """Create a directory and those above it."""
    make_private(path)


@operation
async def make_workspace(_work: Work, root: Path) -> None:
    """Create the directories of a workspace."""
    Workspace(root).make()


@operation
async def make_outbox(_work: Work, path: Path) -> None:
    """Create the directory that a guest has as its /artifacts, below a private one."""
    make_private(path.parent)
    path.mkdir()
    path.chmod(0o755)  # whatever the umask


@operation
async def write(_work: Work, path: Path, data: bytes) -> None:
    """Write a file."""
    path.write_bytes(data)


@operation
async def read(_work: Work, path: Path, limit: int) -> bytes | None:
    """The first bytes of a file; None if it doesn't exist."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        return None


@operation
async def has_begun(_work: Work, outbox: Path, secs: float) -> bool:
    """Whether a guest's job has begun by then, as its outbox tells."""
    from jerichoci.machine.outbox import Outbox

    with Outbox(outbox) as found:
        state = await found.watch(0, secs, False)  # noqa: FBT003 - a `Watch`
    return state.started or state.result is not None


@operation
async def remove(_work: Work, path: Path) -> None:
    """Remove a directory and all in it."""
    await asyncio.to_thread(remove_tree, path)


@operation
async def guest_view(work: Work, outputs: Sequence[str], lease: Path) -> View | None:
    """Have the closure of store paths where guests can be shown it; None for no paths.

    It is kept while there is the link `lease`, which is created.
    """
    return await GuestStore(work.state.root, work.nix).view(outputs, lease)


@operation
async def open_cache(
    work: Work, scope: str, name: str, key: str, view: Path
) -> cache_store.CacheEntry | None:
    """Make the directories of a private view, and find the entry that it begins with."""
    make_private(view)
    for part in ("upper", "work"):
        (view / part).mkdir(mode=0o755, exist_ok=True)
    found = cache_store.find(work.state.root, scope, name, key)
    if found is not None:
        cache_store.touch(work.state.root, found)
    return found


@operation
async def has_cache(work: Work, entry: cache_store.CacheEntry) -> bool:
    """Whether an entry is still there."""
    return cache_store.data_of(work.state.root, entry).is_dir()


@operation
async def publish_cache(  # noqa: PLR0913, PLR0917 - what an entry has
    work: Work,
    scope: str,
    name: str,
    key: str,
    lower: str | None,
    upper: Path,
    limit: int,
    run_id: str,
    *,
    in_use: bool,
) -> cache_store.Published:
    """Make an entry of a view that a job has left."""
    return await asyncio.to_thread(
        cache_store.publish,
        work.state.root,
        scope,
        name,
        key,
        lower,
        upper,
        limit,
        run_id,
        in_use=in_use,
    )


@operation
async def restore_output(work: Work, scope: str, name: str, key: str, out: Path) -> bool:
    """Copy into an empty directory what a host command left; False if that is not kept."""
    return await asyncio.to_thread(
        cache_store.restore_output, work.state.root, scope, name, key, out
    )


@operation
async def keep_output(  # noqa: PLR0913, PLR0917 - what an entry has
    work: Work, scope: str, name: str, key: str, out: Path, run_id: str
) -> None:
    """Keep a copy of what a host command left."""
    await asyncio.to_thread(cache_store.keep_output, work.state.root, scope, name, key, out, run_id)


@operation
async def list_caches(work: Work) -> list[cache_store.CacheEntry]:
    """All entries, the newest first."""
    return cache_store.entries(work.state.root)


@operation
async def remove_cache(work: Work, entry: cache_store.CacheEntry) -> bool:
    """Remove an entry; False if a job has it."""
    return await asyncio.to_thread(cache_store.remove, work.state.root, entry)


@operation
async def load_manifest(_work: Work, output: Path) -> bytes | None:
    """The payload manifest of a prepared output; None if it has none."""
    return payload_files.load_manifest(output)


@operation
async def check_content(_work: Work, output: Path, named: Sequence[Sequence[str]]) -> None:
    """Check that an output has what its manifest names."""
    payload_files.check_content(output, [(what, path, kind) for what, path, kind in named])
