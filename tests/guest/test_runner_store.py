"""The host's store paths at /nix/store, over the guest's own or in their place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from guest.guest import Guest


@pytest.mark.parametrize("as_root", ["0", "1"])
def test_the_hosts_paths_lie_over_the_guests_own_and_none_can_be_written(
    guest: Guest, as_root: str
) -> None:
    own_store(guest, "own", "both")
    view, mount = host_store(guest, "hosts", "both")
    store = guest.root / "nix" / "store"
    look = f"cd {store}; ls; cat own/file hosts/file both/file"
    change = "touch new; touch own/new; echo > hosts/file; echo > own/file; rm -r own"
    result = guest.run(f"{look}; {change}", setup=mount, STORE=str(view), RUN_AS_ROOT=as_root)

    assert result["status"] == "failed"
    shown = guest.log().splitlines()
    assert shown[:3] == ["both", "hosts", "own"]
    assert shown[3:6] == ["guest own", "host hosts", "host both"]
    assert len(shown) >= 11
    assert as_root == "0" or all("Read-only file system" in line for line in shown[6:])
    assert guest.event("store_ready")["store"] == "overlay"
    assert sorted(path.name for path in store.iterdir()) == ["both", "own"]
    assert (view / "hosts" / "file").read_text() == "host hosts\n"


@pytest.mark.parametrize("made", [True, False])
def test_a_guest_without_a_store_sees_the_hosts_paths(guest: Guest, *, made: bool) -> None:
    if made:
        own_store(guest)
    view, mount = host_store(guest, "hosts")
    store = guest.root / "nix" / "store"
    command = f"ls {store}; cat {store}/hosts/file; touch {store}/new"
    guest.run(command, setup=mount, STORE=str(view), RUN_AS_ROOT="1")

    shown = guest.log().splitlines()
    assert shown[:2] == ["hosts", "host hosts"]
    assert "Read-only file system" in shown[2]
    assert guest.event("store_ready")["store"] == "bind"


def test_a_guests_store_may_be_a_mount(guest: Guest) -> None:
    store = own_store(guest, "own")
    view, mount = host_store(guest, "hosts")
    mount += f"\nmount --bind {store} {store}\nmount -o remount,bind,ro {store}"
    guest.run(f"cd {store}; cat own/file hosts/file", setup=mount, STORE=str(view))

    assert guest.log() == "guest own\nhost hosts\n"


def test_in_a_user_namespace_as_containers_have_the_store_is_shown_too(guest: Guest) -> None:
    store = own_store(guest, "own")
    view, mount = host_store(guest, "hosts")
    env = guest.variables(f"cd {store}; cat own/file hosts/file; touch new", STORE=str(view))
    guest.execute_in_a_user_namespace(env, setup=mount)

    assert guest.result()["status"] == "failed"
    assert guest.log().splitlines()[:2] == ["guest own", "host hosts"]
    assert guest.event("store_ready")["store"] == "overlay"
    assert guest.event("workspace_ready")["workspace"] == "overlay"


@pytest.mark.parametrize("arguments", [[], ["--check-contract"]])
def test_a_guest_without_the_hosts_store_is_not_ready_yet(
    guest: Guest, arguments: list[str]
) -> None:
    view, _ = host_store(guest, "hosts")
    done = guest.execute(guest.variables("true", STORE=str(view)), *arguments)

    assert done.returncode == 69
    assert done.stderr == f"pikaci-incus-run: nothing is mounted yet at {view}\n"
    assert list(guest.artifacts.iterdir()) == []


def test_a_check_shows_nothing_and_a_second_exec_does_not_show_it_again(guest: Guest) -> None:
    store = own_store(guest, "own")
    view, mount = host_store(guest, "hosts")
    ended = f"until [ -e {guest.artifacts}/result.json ]; do sleep 0.05; done"
    shows = f'grep -c " {store} " /proc/self/mountinfo || true'
    execs = f'"$@" --check-contract\n{shows}\n"$@"\n{ended}\n"$@"\n{shows}\nexit'
    done = guest.execute(guest.variables("true", STORE=str(view)), setup=f"{mount}\n{execs}")

    ready, before, started, again, after = done.stdout.splitlines()
    states = [json.loads(line)["state"] for line in (ready, started, again)]
    assert states == ["ready", "started", "already_started"]
    assert (before, after) == ("0", "1")


def test_a_store_that_cannot_be_shown_is_an_error(guest: Guest) -> None:
    view, mount = host_store(guest, "hosts")
    (guest.root / "nix" / "store").write_text("no directory")
    result = guest.run("true", setup=mount, STORE=str(view))

    assert (result["status"], result["exit_code"]) == ("error", None)
    assert str(guest.root / "nix" / "store") in result["message"]
    assert [event["event"] for event in guest.events()] == ["runner_started", "command_finished"]


def own_store(guest: Guest, *names: str) -> Path:
    return fill(guest.root / "nix" / "store", "guest", *names)


def host_store(guest: Guest, *names: str) -> tuple[Path, str]:
    """What the host would mount, and how it does."""
    view = fill(guest.root / "nix" / ".pikaci-store", "host", *names)
    return view, f"mount --bind {view} {view}\nmount -o remount,bind,ro {view}"


def fill(store: Path, whose: str, *names: str) -> Path:
    store.mkdir(parents=True)
    for name in names:
        (store / name).mkdir()
        (store / name / "file").write_text(f"{whose} {name}\n")
    return store
