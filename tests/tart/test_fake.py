"""The fake Tart does what Tart is documented to do, and goes wrong as it is told."""

from __future__ import annotations

import contextlib
import json
import os
import pty
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


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of the host's with a file."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.joinpath("file").write_text("from the host\n")
    return directory


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


class TestClones:
    def test_an_image_is_pulled_once(self, mac: Mac) -> None:
        mac.add_base("ghcr.io/some/macos:latest")
        pulled = mac.tart("clone", "ghcr.io/some/macos:latest", VM)
        assert "pulling manifest" in pulled.stdout
        assert mac.tart("clone", "ghcr.io/some/macos:latest", "other").stdout == ""
        names = mac.tart("list", "--source", "oci", "--quiet").stdout.splitlines()
        assert names[0] == "ghcr.io/some/macos:latest"
        assert names[1].startswith("ghcr.io/some/macos@sha256:")

    def test_a_vm_of_the_name_is_replaced(self, mac: Mac, vm: str) -> None:
        mac.tart("set", vm, "--cpu", "6")
        mac.tart("clone", BASE, vm)
        assert mac.config(vm)["cpuCount"] == 4

    def test_it_has_nothing_that_was_written_in_its_base(self, mac: Mac, vm: str) -> None:
        with running(mac, BASE):
            inside(mac, "echo text >/Users/admin/file", BASE)
        mac.tart("clone", BASE, vm)
        with running(mac, vm):
            assert inside(mac, "ls /Users/admin") == ""

    def test_what_a_killed_clone_left_is_removed_by_the_next_call(self, mac: Mac) -> None:
        mac.home.joinpath("tmp", "left").mkdir(parents=True)
        mac.tart("list", "--quiet")
        assert list(mac.home.joinpath("tmp").iterdir()) == []


class TestSettings:
    def test_cpus_and_memory_are_set(self, mac: Mac, vm: str) -> None:
        mac.tart("set", vm, "--cpu", "3", "--memory", "5000")
        info = json.loads(mac.tart("get", vm, "--format", "json").stdout)
        assert (info["CPU"], info["Memory"]) == (3, 5000)
        assert (info["OS"], info["Running"], info["State"]) == ("darwin", False, "stopped")
        assert {"Disk", "DiskFormat", "Size", "Display"} <= info.keys()

    def test_a_guest_with_linux_needs_less(self, mac: Mac) -> None:
        mac.add_base("debian", os="linux")
        mac.tart("set", "debian", "--cpu", "1", "--memory", "1024")


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

    def test_it_is_ended_in_order_by_an_interrupt(self, mac: Mac, vm: str, marker: str) -> None:
        with running(mac, vm) as process:
            inside(mac, f"exec -a {marker} sleep 600 >/dev/null 2>&1 & exit")
            process.send_signal(signal.SIGINT)
            assert process.wait(ENDED_SECS) == 0
            assert not runs_here(marker)

    def test_of_macs_two_run_at_once(self, mac: Mac, vm: str) -> None:
        mac.run_by_hand("a")
        mac.run_by_hand("b")
        message = "The number of VMs exceeds the system limit (other running VMs: a, b)"
        assert fails(mac, "run", vm) == (1, message)
        assert mac.vms()[vm] == "stopped"
        mac.add_base("debian", os="linux")
        mac.run_by_hand("debian")

    def test_its_system_can_shut_itself_down(self, mac: Mac, vm: str) -> None:
        with running(mac, vm) as process:
            mac.tart("exec", vm, "sudo", "-n", "shutdown", "-h", "now", check=False)
            out, _ = process.communicate(timeout=ENDED_SECS)
            assert process.returncode == 0
            assert out == "guest has stopped the virtual machine\n"

    def test_what_is_written_stays_until_it_is_deleted(self, mac: Mac, vm: str) -> None:
        for expected in ("", "text"):
            with running(mac, vm):
                assert inside(mac, "cat file 2>/dev/null; cd; cat file 2>&-; :") == expected
                inside(mac, "cd; echo text >file; sudo -n tee /etc/file </dev/null")
                mac.tart("stop", vm)
        assert mac.disk(vm).joinpath("Users/admin/file").read_text() == "text\n"
        assert not Path("/etc/file").exists()
        mac.tart("delete", vm)
        assert not mac.disk(vm).exists()


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

    def test_they_are_there(self, mac: Mac, vm: str, shared: Path) -> None:
        with running(mac, vm, f"--dir=a:{shared}:ro", f"--dir=b:{shared}"):
            files = '"/Volumes/My Shared Files"'
            assert inside(mac, f"ls {files}") == "a\nb"
            assert inside(mac, f"cat {files}/a/file") == "from the host"
            said = inside(mac, f"sudo -n touch {files}/a/new 2>&1; :")
            assert "Read-only file system" in said
            inside(mac, f"sudo -n touch {files}/b/new")
            assert shared.joinpath("new").exists()
            shared.joinpath("later").write_text("text")
            assert inside(mac, f"cat {files}/a/later") == "text"


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

    def test_a_base_may_want_a_password(self, mac: Mac) -> None:
        mac.add_base(VM, sudo=False)
        with running(mac, VM):
            assert fails(mac, "exec", VM, "sudo", "-n", "true") == (
                1,
                "sudo: a password is required",
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

    def test_a_base_may_have_files_and_no_developer_tools(self, mac: Mac) -> None:
        files = {"/nix/store/own/bin/tool": "#!/bin/sh\necho own\n"}
        mac.add_base(VM, developer="", python="/opt/homebrew/bin/python3", files=files)
        with running(mac, VM):
            assert fails(mac, "exec", VM, "xcode-select", "-p")[0] == 2
            assert fails(mac, "exec", VM, "/usr/bin/python3", "-c", "")[0] == 1
            assert inside(mac, "cat /var/tmp/asked-for-developer-tools") == "/usr/bin/python3"
            assert inside(mac, "/opt/homebrew/bin/python3 -ISc 'print(1)'") == "1"
            assert inside(mac, "/nix/store/own/bin/tool; ls /nix") == "own\nstore"


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

    def test_an_interrupt_cancels_it(self, mac: Mac, vm: str) -> None:
        with running(mac, vm), client(mac, "exec", vm, "sleep", "600") as process:
            wait_for(lambda: inside(mac, "pgrep sleep; :"))
            process.send_signal(signal.SIGINT)
            assert process.wait(ENDED_SECS) == 1
            wait_for(lambda: not inside(mac, "pgrep sleep; :"))

    def test_a_terminal_is_one_on_both_sides(self, mac: Mac, vm: str) -> None:
        argv = [str(mac.bin / "tart"), "exec", "-i", "-t", vm]
        with running(mac, vm):
            outer, inner = pty.openpty()
            line = 'tty; read word; echo "<$word>"; exit 3'
            argv += ["bash", "-c", line]
            with subprocess.Popen(argv, stdin=inner, stdout=inner, stderr=inner) as process:
                os.close(inner)
                said = b""
                with contextlib.suppress(OSError):
                    while b"\n" not in said:
                        said += os.read(outer, 4096)
                    os.write(outer, b"word\r")
                    while more := os.read(outer, 4096):
                        said += more
                assert process.wait(ENDED_SECS) == 3
            os.close(outer)
            assert b"/dev/pts/0" in said
            assert b"<word>" in said


class TestStop:
    def test_it_ends_what_runs_and_kills_what_does_not_end_in_time(self, mac: Mac, vm: str) -> None:
        with running(mac, vm) as process:
            mac.tart("stop", vm)
            assert process.wait(ENDED_SECS) == 0
            assert mac.vms()[vm] == "stopped"
        mac.fail("boot", "deaf")
        with running(mac, vm) as process:
            mac.tart("stop", vm, "--timeout", "1")
            assert process.wait(ENDED_SECS) == -signal.SIGKILL


class TestDelete:
    def test_of_one_nothing_stays(self, mac: Mac, vm: str) -> None:
        mac.tart("delete", vm, BASE)
        assert mac.vms() == {}

    def test_what_was_killed_just_now_can_be(self, mac: Mac, vm: str) -> None:
        with running(mac, vm) as process:
            with client(mac, "exec", vm, "bash", "-c", "cd; while :; do echo >$((++i)); done"):
                process.kill()
            process.wait(ENDED_SECS)
            mac.tart("delete", vm)
        assert vm not in mac.vms()


class TestCommandLines:
    def test_the_host_looks_like_a_mac(self, mac: Mac) -> None:
        assert mac.tart("--version").stdout.count(".") == 2

        def uname(*argv: str) -> str:
            return subprocess.run(
                [mac.bin / "uname", *argv], check=True, capture_output=True, text=True
            ).stdout

        assert uname() == uname("-s") == "Darwin\n"
        assert uname("-m") == "arm64\n"
        assert uname("-sm") == "Darwin arm64\n"
        assert uname("-n") == f"{os.uname().nodename}\n"


class TestFaults:
    def test_calls_are_noted(self, mac: Mac, vm: str) -> None:
        with client(mac, "get", vm) as process:
            process.wait(ENDED_SECS)
        assert [(call.step, call.argv, call.pid) for call in mac.calls()] == [
            ("get", ("get", vm), process.pid)
        ]

    def test_a_step_fails_so_many_times(self, mac: Mac, vm: str) -> None:
        mac.fail("delete", code=9, message="no", times=2, skip=1)
        mac.tart("delete", BASE)
        assert fails(mac, "delete", vm) == (9, "no")
        assert fails(mac, "delete", vm) == (9, "no")
        mac.fail("delete", "fail_after")
        assert fails(mac, "delete", vm)[0] == 1
        assert mac.vms() == {}

    def test_one_command_fails_and_others_do_not(self, mac: Mac, vm: str) -> None:
        mac.fail("exec", code=69, times=None, matching="bootstrap")
        with running(mac, vm):
            assert fails(mac, "exec", vm, "bash", "bootstrap.sh")[0] == 69
            assert answers(mac, vm)
            mac.heal()
            assert fails(mac, "exec", vm, "bash", "bootstrap.sh")[0] == 127

    def test_a_step_hangs(self, mac: Mac, vm: str) -> None:
        mac.fail("stop", "hang")
        with running(mac, vm), client(mac, "stop", vm) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
            mac.heal()
            assert process.wait(ENDED_SECS) == 0

    def test_an_agent_that_is_late_cannot_be_reached(self, mac: Mac, vm: str) -> None:
        mac.fail("boot", "late", secs=1.5)
        with client(mac, "run", vm):
            wait_for(lambda: mac.vms()[vm] == "running")
            code, said = fails(mac, "exec", vm, "true")
            assert code == 1
            assert said.startswith("Failed to connect to the VM using its control socket")
            wait_for(lambda: answers(mac, vm))

    def test_an_agent_that_ends_leaves_what_it_started(
        self, mac: Mac, vm: str, marker: str
    ) -> None:
        line = f"exec -a {marker} sleep 600"
        with running(mac, vm), client(mac, "exec", vm, "bash", "-c", line) as process:
            wait_for(lambda: inside(mac, "pgrep sleep; :"))
            mac.lose_agent(vm)
            assert process.wait(ENDED_SECS) == 1
            assert fails(mac, "exec", vm, "true")[0] == 1
            assert mac.vms()[vm] == "running"
            wait_for(lambda: runs_here(marker))

    def test_a_vm_crashes(self, mac: Mac, vm: str) -> None:
        with running(mac, vm) as process, client(mac, "exec", vm, "sleep", "600") as command:
            wait_for(lambda: inside(mac, "pgrep sleep; :"))
            mac.crash(vm)
            out, _ = process.communicate(timeout=ENDED_SECS)
            assert process.returncode == 0
            assert "due to error" in out
            assert command.wait(ENDED_SECS) == 1

    def test_other_programs_may_have_taken_the_room(self, mac: Mac, vm: str) -> None:
        mac.fail("boot", "limit")
        assert fails(mac, "run", vm) == (1, "The number of VMs exceeds the system limit")


class TestFarHosts:
    def test_a_far_host_may_be_a_mac(self, far_mac: Mac, tmp_path: Path) -> None:
        assert far_mac.host is not None
        assert far_mac.host.run(["uname", "-sm"]).stdout == "Darwin arm64\n"
        far_mac.add_base(BASE)
        shared = far_mac.host.work_dir / "shared"
        shared.mkdir()
        far_mac.tart("clone", BASE, VM)
        far_mac.run_by_hand(VM, f"--dir=a:{shared}")
        assert far_mac.vms() == {BASE: "stopped", VM: "running"}
        inside(far_mac, 'sudo -n touch "/Volumes/My Shared Files/a/file"')
        assert shared.joinpath("file").exists()
        far_mac.tart("stop", VM)
        far_mac.tart("delete", VM)
        assert far_mac.vms() == {BASE: "stopped"}
        assert tmp_path.exists()

    def test_its_vms_end_with_it(self, far_mac: Mac) -> None:
        assert far_mac.host is not None
        far_mac.run_by_hand(VM)
        far_mac.host.reboot()
        assert far_mac.vms() == {VM: "stopped"}
        far_mac.run_by_hand(VM)
        assert inside(far_mac, "id -un") == "admin"


def test_a_vm_that_is_run_by_hand_ends_with_the_tests(mac: Mac) -> None:
    mac.run_by_hand(VM)
    stdin = mac._by_hand[0].stdin
    assert stdin is not None
    stdin.close()
    wait_for(lambda: mac.vms()[VM] == "stopped")
