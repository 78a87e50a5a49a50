from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derivations import derive, is_valid, realise
from disk import mounted
from e2e.project import nix_daemon, shim, wait_for
from jerichoci.cleanup.gc import collect_garbage, reap
from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import run
from jerichoci.nix import guest_views
from jerichoci.nix.command import NixOptions
from jerichoci.nix.guest_store import GuestStore, View
from jerichoci.nix.guest_views import LEASE
from jerichoci.snapshot.repository import RECENT_SECS
from jerichoci.state.layout import StateLayout
from plans import RUN_ID
from privilege import only_root_can

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
DEADLINE_SECS = 60
LEAST = 9
"""So many views are asked for while others collect."""
ASK = """
import asyncio, sys
from pathlib import Path
from jerichoci.nix.guest_store import GuestStore
from jerichoci.nix.command import NixOptions
state, lease, times, *outputs = sys.argv[1:]
store = GuestStore(Path(state), NixOptions())
async def ask():
    leases = [Path(lease) / str(number) / "view" for number in range(int(times))]
    for view in await asyncio.gather(*(store.view(outputs, lease) for lease in leases)):
        print(view.path)
asyncio.run(ask())
"""
"""A process that asks for a view, several times at once."""
BSD = """
for word; do
  case $word in
    --) break ;;
    -*[!{letters}-]* | --?*) echo "illegal option $word" >&2; exit 64 ;;
  esac
done
exec "$real" "$@"
"""
"""What refuses options that the programs of macOS don't have."""


def build(needs: dict[str, list[str]] | None = None, /, **scripts: str) -> dict[str, str]:
    """Build derivations; their output paths."""
    builds = derive(scripts, needs=needs)
    for made in builds.values():
        realise(made)
    return {name: made.out_path for name, made in builds.items()}


def chain() -> dict[str, str]:
    """Outputs of which `a` needs `b`, and `c` is alone."""
    return build({"a": ["b"]}, a="echo a $needed > $out", b="echo b > $out", c="echo c > $out")


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """A chain that stays in the store."""
    return chain()


def lease_of(layout: StateLayout, attempt: str = "job-1") -> Path:
    return layout.run(RUN_ID).scratch / attempt / LEASE


def open_store(layout: StateLayout) -> GuestStore:
    return GuestStore(layout.root, NixOptions())


async def have(layout: StateLayout, *outputs: str, attempt: str = "job-1") -> View:
    view = await open_store(layout).view(outputs, lease_of(layout, attempt))
    assert view
    return view


def names(*outputs: str) -> set[str]:
    return {Path(output).name for output in outputs}


def content(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.startswith(".")}


def hidden(layout: StateLayout) -> list[str]:
    return [path.name for path in layout.guest_views.glob(".*")]


def age(view: View) -> None:
    """Let a view look as if it had not been used lately."""
    long_ago = time.time() - RECENT_SECS - 60
    roots = view.path.parents[1] / "nix/var/nix/gcroots/pikaci" / view.path.name
    for path in (view.path, roots):
        os.utime(path, (long_ago, long_ago))


def counting(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has a line for each `nix copy`."""
    calls = directory / "calls"
    calls.touch()
    script = f'case "$*" in *--no-check-sigs*) echo "$*" >> {calls};; esac\nexec "$real" "$@"'
    monkeypatch.setenv("PATH", shim(directory / "shims", "nix", script))
    return calls


# What a view has


async def test_a_view_has_the_closure_and_nothing_else(
    layout: StateLayout, made: dict[str, str]
) -> None:
    await have(layout, made["c"], attempt="other-1")
    view = await have(layout, made["a"])
    assert content(view.path) == names(made["a"], made["b"])
    assert not hidden(layout)
    assert view.outputs[made["a"]].read_text() == Path(made["a"]).read_text()
    both = await have(layout, made["a"], made["c"])
    assert content(both.path) == names(*made.values())
    assert await have(layout, made["c"], made["a"], made["c"]) == both
    assert lease_of(layout).readlink() == both.path
    alone = await have(layout, made["c"])
    assert alone not in {view, both}
    assert lease_of(layout).readlink() == alone.path


async def test_no_outputs_have_no_view(layout: StateLayout) -> None:
    assert await open_store(layout).view([], lease_of(layout)) is None
    assert not layout.guest_store.exists()


async def test_a_view_has_links_to_the_stores_files_and_costs_no_second_copy(
    layout: StateLayout,
) -> None:
    script = "mkdir -p $out/bin; echo x > $out/bin/x; chmod +x $out/bin/x; ln -s bin/x $out/l"
    made = build(a=script)
    found = (await have(layout, made["a"])).outputs[made["a"]]
    stored = layout.guest_paths / found.name
    assert (found / "bin/x").samefile(stored / "bin/x")
    assert not found.samefile(stored)
    assert (found / "l").readlink() == Path("bin/x")
    assert os.access(found / "bin/x", os.X_OK)


async def test_every_user_of_a_guest_may_read_it(layout: StateLayout) -> None:
    made = build(a="umask 077; mkdir -p $out/deep/er; echo x > $out/deep/er/x; ln -s x $out/l")
    before = os.umask(0o077)
    try:
        view = await have(layout, made["a"])
    finally:
        os.umask(before)
    for path in [view.path, *view.path.rglob("*")]:
        wanted = 0o555 if path.is_dir() else 0o444
        assert path.is_symlink() or path.stat().st_mode & wanted == wanted, path


async def test_the_store_grows_by_what_is_missing(layout: StateLayout) -> None:
    made = build(
        {"one": ["base"], "two": ["base"]},
        base="echo base > $out",
        one="echo 1 $needed > $out",
        two="echo 2 $needed > $out",
    )
    store = layout.guest_paths
    await have(layout, made["one"])
    before = {path.name: path.stat().st_ino for path in store.glob("[!.]*")}
    assert set(before) == names(made["one"], made["base"])
    view = await have(layout, made["two"])
    after = {path.name: path.stat().st_ino for path in store.glob("[!.]*")}
    assert after.items() - before.items() == {(name, after[name]) for name in names(made["two"])}
    assert content(view.path) == names(made["two"], made["base"])


async def test_many_paths_take_more_than_one_command(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.nix.guest_store.PATHS_AT_ONCE", 2)
    scripts = {f"p{number}": f"echo {number} $needed > $out" for number in range(5)}
    made = build({"p0": ["p1", "p2", "p3", "p4"]}, **scripts)
    assert content((await have(layout, made["p0"])).path) == names(*made.values())


async def test_a_state_root_may_have_any_name_and_lie_behind_a_link(
    tmp_path: Path, made: dict[str, str]
) -> None:
    StateLayout(tmp_path / "a&b=c?d%20e+f#g;h ü'\"$x\\").make()
    (tmp_path / "link").symlink_to("a&b=c?d%20e+f#g;h ü'\"$x\\")
    for layout in map(StateLayout, tmp_path.iterdir()):
        assert content((await have(layout, made["a"])).path) == names(made["a"], made["b"])
        await guest_views.collect_views(layout, dry_run=False)


async def test_where_links_can_not_be_had_there_are_copies(layout: StateLayout) -> None:
    made = build(a="mkdir $out; echo x > $out/x; ln -s x $out/l", b="echo b > $out")
    views = layout.guest_views
    views.parent.mkdir()
    with mounted(views, "2m"):
        view = await have(layout, made["a"], made["b"])
        assert content(view.path) == names(*made.values())
        assert (view.outputs[made["a"]] / "l").read_text() == "x\n"
        assert not hidden(layout)


async def test_programs_that_know_no_options_but_bsds_will_do(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"cp": "afHiLlnPpRvXc", "ln": "Ffhinsv", "mv": "finv"}
    for program, letters in known.items():
        monkeypatch.setenv("PATH", shim(tmp_path / "bsd", program, BSD.format(letters=letters)))
    made = build(a="echo a > $out", b="mkdir $out; echo b > $out/b")
    assert content((await have(layout, *made.values())).path) == names(*made.values())


# The second time, and all at once


async def test_a_view_that_is_there_takes_no_program(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    view = await have(layout, made["a"])
    age(view)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await have(layout, made["a"], attempt="job-2") == view
    assert lease_of(layout, "job-2").readlink() == view.path
    assert view.path.stat().st_mtime > time.time() - 60


async def test_who_asks_at_the_same_time_has_it_made_once(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    calls = counting(tmp_path, monkeypatch)
    asked = (have(layout, made["a"], attempt=f"job-{number}") for number in range(8))
    views = set(await asyncio.gather(*asked))
    assert len(views) == 1
    assert len(calls.read_text().splitlines()) == 1


def start_asking(
    layout: StateLayout, name: str, times: int, *outputs: str
) -> subprocess.Popen[str]:
    leases = layout.run(RUN_ID).scratch / name
    argv = [sys.executable, "-c", ASK, str(layout.root), str(leases), str(times), *outputs]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env)


def test_processes_that_ask_at_the_same_time_have_it_made_once(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    calls = counting(tmp_path, monkeypatch)
    asking = [start_asking(layout, f"job{number}", 4, made["a"]) for number in range(3)]
    said = [process.communicate(timeout=DEADLINE_SECS)[0] for process in asking]
    assert [process.returncode for process in asking] == [0] * 3
    (path,) = set("".join(said).splitlines())
    assert content(Path(path)) == names(made["a"], made["b"])
    assert len(calls.read_text().splitlines()) == 1


def test_different_views_can_be_made_in_a_new_store_at_once(layout: StateLayout) -> None:
    scripts = {f"p{number}": f"echo {number} $needed > $out" for number in range(6)}
    made = build({f"p{number}": ["p0"] for number in range(1, 6)}, **scripts)
    asking = [start_asking(layout, name, 1, output) for name, output in made.items()]
    said = [process.communicate(timeout=DEADLINE_SECS)[0].strip() for process in asking]
    assert [process.returncode for process in asking] == [0] * 6
    closures = [names(output, made["p0"]) for output in made.values()]
    assert [content(Path(path)) for path in said] == closures


async def test_the_loop_goes_on_meanwhile(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    monkeypatch.setenv("PATH", shim(tmp_path, "cp", 'sleep 0.5; exec "$real" "$@"'))
    making = asyncio.ensure_future(have(layout, made["a"]))
    turns = 0
    while not making.done():
        await asyncio.sleep(0.01)
        turns += 1
    await making
    assert turns > 20


# What goes wrong


@pytest.mark.parametrize(("program", "pattern"), [("nix", "*--no-check-sigs*"), ("cp", "*")])
def test_a_process_that_is_killed_leaves_no_half_view(
    layout: StateLayout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    pattern: str,
) -> None:
    made = chain()
    before = os.environ["PATH"]
    begun = tmp_path / "begun"
    script = f'case "$*" in {pattern}) echo $$ > {begun}; exec sleep 60;; esac; exec "$real" "$@"'
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", program, script))
    process = start_asking(layout, "killed", 1, made["a"])
    wait_for(lambda: begun.exists() and begun.read_text().strip())
    process.kill()
    assert process.communicate(timeout=DEADLINE_SECS)[0] == ""
    try:
        os.kill(int(begun.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        assert program == "nix"
    views = layout.guest_views
    assert not views.exists() or content(views) == set()
    assert len(hidden(layout)) == (1 if program == "cp" else 0)
    reap(layout)
    assert not hidden(layout)
    monkeypatch.setenv("PATH", before)
    view = asyncio.run(have(layout, made["a"]))
    assert content(view.path) == names(made["a"], made["b"])


async def test_a_view_that_is_being_made_is_not_reaped(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    begun = tmp_path / "begun"
    path = shim(tmp_path / "shims", "cp", f'touch {begun}; sleep 1; exec "$real" "$@"')
    monkeypatch.setenv("PATH", path)
    making = asyncio.ensure_future(have(layout, made["a"]))
    await asyncio.to_thread(wait_for, begun.exists)
    reap(layout)
    assert len(hidden(layout)) == 1
    await collect_garbage(layout, 0, dry_run=False)
    assert content((await making).path) == names(made["a"], made["b"])


async def test_a_cancelled_wait_leaves_nothing(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    begun = tmp_path / "begun"
    path = shim(tmp_path / "shims", "cp", f"touch {begun}; exec sleep 60")
    monkeypatch.setenv("PATH", path)
    making = asyncio.ensure_future(have(layout, made["a"]))
    await asyncio.to_thread(wait_for, begun.exists)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not hidden(layout)


async def test_an_output_that_is_gone_is_named_where_the_guests_store_lacks_it(
    layout: StateLayout, tmp_path: Path
) -> None:
    made = chain()
    view = await have(layout, made["a"])
    await run(["nix-store", "--delete", made["a"]], deadline_secs=DEADLINE_SECS)
    assert await have(layout, made["a"]) == view
    with pytest.raises(InfrastructureError) as caught:
        await have(StateLayout(tmp_path / "another"), made["a"])
    assert caught.value.message.startswith(f"{made['a']} is not in the Nix store of ")
    assert "run again" in (caught.value.hint or "")


async def test_a_full_disk_is_the_machines_fault(small_disk: Path) -> None:
    layout = StateLayout(small_disk / "state")
    layout.make()
    made = build(a="head -c 4096k /dev/zero > $out")
    with pytest.raises(InfrastructureError) as caught:
        await have(layout, made["a"])
    assert caught.value.message.startswith("the guests' store can't give a job its closure: ")
    assert "No space left on device" in caught.value.message
    assert "pikaci gc" in (caught.value.hint or "")
    assert not hidden(layout)


async def test_a_disk_that_is_full_when_the_view_is_made_has_no_half_view(
    layout: StateLayout,
) -> None:
    made = build(a="head -c 4096k /dev/zero > $out")
    views = layout.guest_views
    views.parent.mkdir()
    with mounted(views, "2m"):
        with pytest.raises(InfrastructureError, match="No space left on device"):
            await have(layout, made["a"])
        assert not list(views.iterdir())


# Collecting


async def test_collecting_keeps_what_is_leased_and_what_was_used_lately(
    layout: StateLayout, made: dict[str, str]
) -> None:
    leased = await have(layout, made["a"])
    recent = await have(layout, made["b"], attempt="recent-1")
    old = await have(layout, made["c"], attempt="old-1")
    for attempt in ("recent-1", "old-1"):
        lease_of(layout, attempt).unlink()
    age(leased)
    age(old)
    told = await collect_garbage(layout, 9, dry_run=True)
    assert told.views == [old.path.name]
    assert content(layout.guest_views) == {view.path.name for view in (leased, recent, old)}
    collected = await collect_garbage(layout, 9, dry_run=False)
    assert collected.views == [old.path.name]
    assert (
        content(layout.guest_views)
        == content(layout.guest_roots)
        == {leased.path.name, recent.path.name}
    )
    assert content(layout.guest_paths) == names(made["a"], made["b"])
    assert content(leased.path) == names(made["a"], made["b"])
    assert not hidden(layout)
    assert not (layout.slots / f"guest-view-{old.path.name}.lock").exists()
    assert content((await have(layout, made["c"])).path) == names(made["c"])


async def test_collecting_the_store_takes_nothing_from_a_view(
    layout: StateLayout, made: dict[str, str]
) -> None:
    view = await have(layout, made["a"])
    shutil.rmtree(layout.guest_roots)
    await collect_garbage(layout, 0, dry_run=False)
    assert content(layout.guest_paths) == set()
    assert view.outputs[made["a"]].read_text() == Path(made["a"]).read_text()


async def test_what_was_copied_for_a_view_that_was_not_made_goes_with_its_lease(
    layout: StateLayout, made: dict[str, str]
) -> None:
    view = await have(layout, made["a"])
    age(view)
    shutil.rmtree(view.path)
    await collect_garbage(layout, 9, dry_run=False)
    assert content(layout.guest_roots) == {view.path.name}
    assert content(layout.guest_paths) == names(made["a"], made["b"])
    lease_of(layout).unlink()
    assert (await collect_garbage(layout, 0, dry_run=False)).views == []
    assert content(layout.guest_paths) == set()


async def test_what_is_asked_for_while_others_collect_stays(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch, made: dict[str, str]
) -> None:
    monkeypatch.setattr(guest_views, "RECENT_SECS", -60.0)
    over = threading.Event()
    removed: list[str] = []
    asked: list[View] = []

    def collect() -> None:
        while not over.is_set():
            removed.extend(asyncio.run(guest_views.collect_views(layout, dry_run=False)))
            time.sleep(0.02)

    collecting = asyncio.ensure_future(asyncio.to_thread(collect))
    try:
        while len(asked) < LEAST or not removed:
            number = len(asked)
            assert number < 50 * LEAST
            outputs = [made[name] for name in ("abc"[number % 3], "abc"[number % 2])]
            view = await have(layout, *outputs)
            asked.append(view)
            closure = {*outputs, made["b"]} if made["a"] in outputs else set(outputs)
            assert content(view.path) == names(*closure)
            await asyncio.sleep(0.005)
            assert content(view.path) == names(*closure)
            lease_of(layout).unlink()
            await asyncio.sleep(0.05 * (number % 3))
    finally:
        over.set()
        await collecting


# Other Nixes, other users


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that everybody can reach."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_another_user_has_views_of_what_the_daemon_has(home: Path, made: dict[str, str]) -> None:
    only_root_can("give files to others")
    layout = StateLayout(home / "state")
    layout.make()
    read = "dac_read_search"
    caps = f"-all,+{read}"
    argv = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}"),
        *(sys.executable, "-c", ASK, str(layout.root), str(lease_of(layout).parent), "2"),
        *(made["a"], made["c"]),
    ]
    for path in [layout.root, *layout.root.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    with nix_daemon(home) as remote:
        own = {"HOME": str(layout.root), "PYTHONPATH": os.pathsep.join(sys.path)}
        env = os.environ | remote | own
        done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (view,) = {Path(line) for line in done.stdout.splitlines()}
    assert content(view) == names(*made.values())
    owners = {entry.lstat().st_uid for entry in [view, *view.rglob("*")]}
    assert owners == {NOBODY}
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in view.iterdir()}
    assert modes == {0o444}
    assert is_valid(made["a"])
