"""The fake Tart does what Tart is documented to do, and goes wrong as it is told."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tart.directory_share import AUTOMOUNT_TAG, DirectoryShare, parse_share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tart.mac import Mac

ENDED_SECS = 30
BASE, VM = "base", "vm"
USAGE = 64


@pytest.fixture
def vm(mac: Mac) -> str:
    """A clone of a base."""
    mac.add_base(BASE)
    mac.tart("clone", BASE, VM)
    return VM


@contextlib.contextmanager
def client(mac: Mac, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """The program, until it is killed at the latest."""
    with subprocess.Popen(
        [mac.bin / "tart", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def running(mac: Mac, name: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A VM that runs."""
    with client(mac, "run", name, "--no-graphics", *argv) as process:
        wait_for(lambda: answers(mac, name))
        yield process


def answers(mac: Mac, name: str) -> bool:
    return mac.tart("exec", name, "true", check=False).returncode == 0


def inside(mac: Mac, line: str, name: str = VM) -> str:
    """What a shell line prints in a VM."""
    return mac.tart("exec", name, "/bin/bash", "-c", line).stdout.strip()


def fails(mac: Mac, *argv: str) -> tuple[int, str]:
    """How a call that goes wrong ends, and what it says."""
    done = mac.tart(*argv, check=False)
    assert done.returncode != 0, done
    return done.returncode, done.stderr.strip()


def wait_for(come: Callable[[], object]) -> None:
    deadline = time.monotonic() + ENDED_SECS
    while not come():
        assert time.monotonic() < deadline, "it doesn't come"
        time.sleep(0.01)


def runs_here(marker: str) -> bool:
    """Whether a process has a word in its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in entry.read_bytes():
                return True
    return False


REFUSED = [
    (("clone", "nothing", VM), 2, 'the specified VM "nothing" does not exist'),
    (("clone", "ghcr.io/some/nothing", VM), 1, "404"),
    (("clone", VM, "a/b"), USAGE, "<new-name> should be a local name"),
    (("clone", "one"), USAGE, ""),
    (("clone", "one", "two", "three"), USAGE, ""),
    (("clone", "one", "two", "--nothing"), USAGE, ""),
    (("set", VM, "--cpu", "1"), 1, "VM should have 2 CPU"),
    (("set", VM, "--memory", "1024"), 1, "VM should have 4294967296"),
    (("set", VM, "--cpu", "many"), USAGE, ""),
    (("set", VM, "--cpu"), USAGE, ""),
    (("set", "nothing", "--cpu", "4"), 2, 'the specified VM "nothing" does not exist'),
    (("run", "nothing"), 2, 'the specified VM "nothing" does not exist'),
    (("run", VM, "--dir=/usr", "--dir=a:/usr"), USAGE, "each one of them should be named"),
    (("run", VM, "--dir=a:/usr/nothing:ro"), 1, "VZErrorDomain"),
    (("run", VM, "--dir=a:/usr:tag=t"), 70, "the fake has no shares"),
    (("exec", VM, "true"), 2, f'VM "{VM}" is not running'),
    (("exec", "nothing", "true"), 2, ""),
    (("stop", VM), 2, f'VM "{VM}" is not running'),
    (("stop", VM, "--timeout", "-1"), USAGE, ""),
    (("stop", "nothing"), 2, ""),
    (("delete", "nothing"), 2, 'the specified VM "nothing" does not exist'),
    (("delete",), USAGE, ""),
    (("list",), USAGE, ""),
    (("list", "--source", "both"), USAGE, ""),
    (("nothing",), USAGE, ""),
]


def test_what_is_refused_changes_nothing(mac: Mac, vm: str) -> None:
    before = mac.config(vm)
    for argv, code, words in REFUSED:
        found, said = fails(mac, *argv)
        assert (found, words in said) == (code, True), (argv, found, said)
    assert mac.vms() == {BASE: "stopped", vm: "stopped"}
    assert mac.config(vm) == before


class TestRun:
    def test_it_runs_as_long_as_the_process(self, mac: Mac, vm: str, marker: str) -> None:
        with running(mac, vm) as process:
            assert mac.vms()[vm] == "running"
            assert fails(mac, "run", vm) == (2, f'VM "{vm}" is already running!')
            assert fails(mac, "delete", vm) == (1, f'VM "{vm}" is running')
            assert str(mac.home) not in Path("/proc/self/mountinfo").read_text()
            infos = json.loads(mac.tart("list", "--format", "json").stdout)
            assert [(info["Name"], info["Running"], info["State"]) for info in infos] == [
                (BASE, False, "stopped"),
                (vm, True, "running"),
            ]
            assert {"Source", "Disk", "Size", "Accessed"} <= infos[0].keys()
            assert mac.tart("list", "--source", "local", "--quiet").stdout == f"{BASE}\n{vm}\n"
            inside(mac, f"exec -a {marker} sleep 600 >/dev/null 2>&1 & exit")
            assert runs_here(marker)
            process.kill()
            process.wait(ENDED_SECS)
            assert mac.vms()[vm] == "stopped"
            wait_for(lambda: not runs_here(marker))

    def test_of_macs_two_run_at_once(self, mac: Mac, vm: str) -> None:
        mac.run_by_hand("a")
        mac.run_by_hand("b")
        message = "The number of VMs exceeds the system limit (other running VMs: a, b)"
        assert fails(mac, "run", vm) == (1, message)
        assert mac.vms()[vm] == "stopped"
        mac.add_base("debian", os="linux")
        mac.run_by_hand("debian")


class TestShares:
    @pytest.mark.parametrize(
        ("text", "share"),
        [
            ("/a", DirectoryShare(None, Path("/a"), read_only=False, tag=AUTOMOUNT_TAG)),
            ("/a:ro", DirectoryShare(None, Path("/a"), read_only=True, tag=AUTOMOUNT_TAG)),
            ("n:/a", DirectoryShare("n", Path("/a"), read_only=False, tag=AUTOMOUNT_TAG)),
            ("n:/a:ro,tag=t", DirectoryShare("n", Path("/a"), read_only=True, tag="t")),
            ("n:/a:tag=t", DirectoryShare("n", Path("/a"), read_only=False, tag="t")),
            ("n:/a:b:ro", DirectoryShare("n", Path("/a:b"), read_only=True, tag=AUTOMOUNT_TAG)),
            ("n:/a:b", DirectoryShare("n", Path("/a:b"), read_only=False, tag=AUTOMOUNT_TAG)),
            # Of a path that has a colon and no name the beginning is one.
            ("/a:b", DirectoryShare("/a", Path.cwd() / "b", read_only=False, tag=AUTOMOUNT_TAG)),
            # Without options of its own a path that looks like some is taken for them.
            ("/n:/a,ro", DirectoryShare(None, Path("/n"), read_only=True, tag=AUTOMOUNT_TAG)),
            ("n:/a::b:ro", DirectoryShare("n", Path("/a:b"), read_only=True, tag=AUTOMOUNT_TAG)),
            ("n:/a:rw,ro", DirectoryShare("n", Path("/a"), read_only=True, tag=AUTOMOUNT_TAG)),
        ],
    )
    def test_they_are_read_as_there(self, text: str, share: DirectoryShare) -> None:
        assert parse_share(text) == share


class TestGuests:
    def test_commands_are_admins_on_a_mac(self, mac: Mac, vm: str) -> None:
        with running(mac, vm):
            assert inside(mac, "id -u; id -gn; id -Gn; pwd; echo ~") == (
                "501\nstaff\nstaff admin\n/\n/Users/admin"
            )
            variables = set(inside(mac, "env").splitlines())
            assert {"USER=admin", "PATH=/usr/bin:/bin:/usr/sbin:/sbin"} <= variables
            assert not any(line.startswith(("TART_HOME", "LANG", "TERM")) for line in variables)

            sudo = "sudo -n /bin/bash -c 'id -u; echo $SUDO_USER $HOME \"$1\"' 0 'a  b'"
            assert inside(mac, sudo) == "0\nadmin /var/root a  b"
            assert inside(mac, "uname -sm; uname") == "Darwin arm64\nDarwin"
            assert inside(mac, "xcode-select -p") == "/Library/Developer/CommandLineTools"
            assert inside(mac, "readlink /tmp /var; /usr/bin/python3 -ISc 'print(1)'") == (
                "private/tmp\nprivate/var\n1"
            )

    def test_root_is_sealed_and_extended_by_synthetic_links(self, mac: Mac, vm: str) -> None:
        util = "/System/Library/Filesystems/apfs.fs/Contents/Resources/apfs.util"
        with running(mac, vm):
            for path in ("/new", "/usr/new", "/usr/bin/new"):
                assert "Read-only file system" in inside(mac, f"sudo -n mkdir {path} 2>&1; :")
            assert inside(mac, "ls -d /nix /run /work 2>/dev/null; :") == ""
            inside(mac, "sudo -n mkdir /private/var/new /usr/local/new /etc/new")
            inside(mac, "sudo -n mkdir -p /private/var/there/store")
            inside(mac, r"printf 'nix\tprivate/var/there\n' | sudo -n tee /etc/synthetic.conf")
            assert inside(mac, f"sudo -n {util} -t; echo $?; ls /nix") == "253\nstore"
            mac.tart("stop", vm)
        with running(mac, vm):
            assert inside(mac, "ls /nix") == "store"


class TestExec:
    def test_it_has_the_exit_code_and_both_outputs(self, mac: Mac, vm: str) -> None:
        much = "0123456789abcdef" * 100_000
        bash = ("sh", "-c")
        with running(mac, vm):
            for argv, stdin, code, out, words in (
                ((vm, *bash, "echo out; echo err >&2; exit 7"), "", 7, "out\n", "err\n"),
                ((vm, "echo", "-i", "--", "--help"), "", 0, "-i -- --help\n", ""),
                ((vm,), "", USAGE, "", ""),
                ((vm, "cat"), "text", 0, "", ""),
                (("-i", vm, "cat"), much, 0, much, ""),
                ((vm, "no-such"), "", 1, "", 'Error: unknown (2): exec: "no-such"'),
                ((vm, "/bin/bash", "/nothing"), "", 127, "", ""),
                ((vm, *bash, "kill -9 $$"), "", 255, "", ""),
                ((vm, *bash, "(sleep 0.3; echo later) & echo now"), "", 0, "now\nlater\n", ""),
                (("-t", vm, "true"), "", -signal.SIGTRAP, "", ""),
            ):
                done = mac.tart("exec", *argv, stdin=stdin, check=False)
                assert (done.returncode, done.stdout) == (code, out), argv
                assert done.stderr.startswith(words), argv

    def test_its_command_ends_with_it_and_no_other_process(self, mac: Mac, vm: str) -> None:
        with running(mac, vm):
            with client(mac, "exec", vm, "/bin/bash", "-c", "exec sleep 601") as process:
                wait_for(lambda: inside(mac, "pgrep -f '^sleep 601'; :"))
                process.kill()
                wait_for(lambda: not inside(mac, "pgrep -f '^sleep 601'; :"))
            with client(mac, "exec", vm, "/bin/bash", "-c", "sleep 602; echo never") as process:
                wait_for(lambda: inside(mac, "pgrep -f '^sleep 602'; :"))
                process.kill()
                wait_for(lambda: not inside(mac, "pgrep -f [n]ever; :"))
                assert inside(mac, "pgrep -f '^sleep 602'; :")
            with client(mac, "exec", vm, "sudo", "-n", "sleep", "603") as process:
                # What has become root does not end with it.
                wait_for(lambda: inside(mac, "pgrep -f '^sleep 603'; :"))
                process.kill()
                process.wait(ENDED_SECS)
                time.sleep(0.2)
                assert inside(mac, "pgrep -f '^sleep 603'")
