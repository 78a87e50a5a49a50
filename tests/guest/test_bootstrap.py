"""What makes a macOS guest ready for a job, and again when it is asked again."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from guest.mac import ADMIN, BOOTSTRAP, CONTROL, SHARES, SYNTHETIC, Mac

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

# Says what it was called with, and as whom.
ECHO = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.getuid(), os.environ.get("PIKACI_INCUS_USER")]))
sys.exit(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
"""
JOB = {"RUN_AS_ROOT": "0", "TIMEOUT_SECS": "60"}
ARTIFACTS = f"{SHARES}/artifacts\t/artifacts"
STORE = f"{SHARES}/store\t/nix/store"


@pytest.fixture
def mac() -> Iterator[Mac]:
    # Not tmp_path, which is below a directory of root's alone.
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="pikaci-mac-"))
    directory.chmod(0o755)
    with Mac(directory) as mac:
        yield mac
    shutil.rmtree(directory)


@pytest.fixture
def echo(mac: Mac) -> Mac:
    """A guest whose runner says what it was called with."""
    mac.replace_runner(ECHO)
    return mac


def test_the_runner_is_roots_and_knows_the_agents_user_or_the_macs_first(echo: Mac) -> None:
    for agent in (ADMIN, 0):
        told = said(echo.bootstrap(user=agent))
        assert told == [["--variables", f"{CONTROL}/job.json"], 0, "admin"]


def test_arguments_are_passed_on_and_so_is_the_exit_code(echo: Mac) -> None:
    echo.write_control(name="a shell.json")
    done = echo.bootstrap("a shell.json", "7", "two words", "")

    assert done.returncode == 7
    arguments = ["--variables", f"{CONTROL}/a shell.json", "7", "two words", ""]
    assert json.loads(done.stdout)[0] == arguments


def test_what_is_typed_reaches_the_runner(mac: Mac) -> None:
    mac.replace_runner("import sys; print(sys.stdin.read())")

    assert mac.bootstrap(stdin="typed").stdout == "typed\n"


def test_inputs_are_where_the_host_says(echo: Mac) -> None:
    (echo.share("input-one") / "a tool").write_text("it")
    one, tool = f"{SHARES}/input-one", f"{SHARES}/input-one/a tool"
    # The last line has no end.
    (echo.control / "links").write_text(f"{one}\t/staged/one\n{tool}\t/staged/deep/a tool")
    said(echo.bootstrap())

    assert echo.sh("cat '/staged/one/a tool' '/staged/deep/a tool'") == "itit"
    assert echo.sh("readlink /staged/one") == f"{one}\n"
    echo.write_control("/usr\t/staged/one")
    said(echo.bootstrap())
    assert echo.sh("readlink /staged/one") == "/usr\n"


def test_what_the_sealed_root_lacks_is_made_by_synthetic_conf(echo: Mac) -> None:
    echo.share("artifacts")
    echo.write_control(ARTIFACTS)
    said(echo.bootstrap())

    assert echo.at(SYNTHETIC).read_text() == (
        "workspace\tprivate/var/pikaci/root/workspace\n"
        "artifacts\tprivate/var/pikaci/root/artifacts\n"
    )
    assert echo.sh("readlink /workspace") == "private/var/pikaci/root/workspace\n"
    echo.sh("test -d /workspace; touch /artifacts/file")
    assert (echo.shares / "artifacts" / "file").exists()


def test_a_second_time_changes_nothing(echo: Mac) -> None:
    echo.share("artifacts")
    (echo.share("store") / "entry").touch()
    echo.write_control(ARTIFACTS, STORE, "/etc\t/staged/etc")
    look = "cd /private/var/pikaci && find . -printf '%p %l %t\\n'"
    said(echo.bootstrap())
    before = echo.sh(look), echo.at(SYNTHETIC).read_text()
    said(echo.bootstrap())

    assert (echo.sh(look), echo.at(SYNTHETIC).read_text()) == before


def test_lines_of_synthetic_conf_stay(echo: Mac) -> None:
    echo.at(SYNTHETIC).write_text("nix\nworkspace\tprivate/var/mine")
    echo.sh("mkdir /private/var/mine")
    echo.write_control("/etc\t/staged/etc")
    said(echo.bootstrap())

    assert echo.at(SYNTHETIC).read_text() == (
        "nix\nworkspace\tprivate/var/mine\nstaged\tprivate/var/pikaci/root/staged\n"
    )


def test_names_that_are_there_are_used_as_they_are(echo: Mac) -> None:
    echo.sh("mkdir -p /workspace /opt/tools; mkdir /private/var/mine; ln -s private/var/mine /data")
    echo.write_control("/etc\t/opt/tools/etc", "/usr\t/data/usr", "/var\t/data/deep/var")
    said(echo.bootstrap())

    assert not echo.at(SYNTHETIC).exists()
    assert echo.sh("readlink /opt/tools/etc /private/var/mine/usr /data/deep/var").split() == [
        "/etc",
        "/usr",
        "/var",
    ]


def test_an_empty_directory_gives_way_and_one_with_something_in_it_does_not(echo: Mac) -> None:
    echo.share("artifacts")
    echo.write_control(ARTIFACTS)
    echo.sh("mkdir -p /artifacts/mine")
    taken = "/artifacts is there already, and nothing can take its place"
    assert refused(echo.bootstrap()) == (71, taken)

    echo.sh("rmdir /artifacts/mine")
    said(echo.bootstrap())
    assert echo.sh("readlink /artifacts") == f"{SHARES}/artifacts\n"


def test_a_guest_without_a_store_has_the_hosts(echo: Mac) -> None:
    (echo.share("store") / "abc-hello").write_text("hello")
    echo.write_control(STORE)
    said(echo.bootstrap())

    assert echo.sh("cat /nix/store/abc-hello; readlink /nix/store") == (f"hello{SHARES}/store\n")


def test_a_guests_own_store_gets_what_it_lacks(echo: Mac) -> None:
    store = echo.share("store")
    for number in range(1100):
        (store / f"abc-{number}").write_text(str(number))
    (store / "to-nowhere").symlink_to("nowhere")
    echo.sh("mkdir -p /nix/store; echo own > /nix/store/abc-7; echo own > /nix/store/mine")
    echo.write_control(STORE)
    for _ in range(2):
        said(echo.bootstrap())

    assert echo.sh("cd /nix/store; cat abc-7 mine; cat abc-8 abc-1099; ls | wc -l") == (
        "own\nown\n810991102\n"
    )


def test_shares_that_are_not_there_are_to_be_tried_again(echo: Mac) -> None:
    for name in ("job.json", "links", "pikaci-incus-run"):
        (echo.control / name).rename(echo.host / name)
        assert refused(echo.bootstrap()) == (69, f"{CONTROL}/{name} isn't there yet")
        (echo.host / name).rename(echo.control / name)
    echo.write_control(ARTIFACTS)
    assert refused(echo.bootstrap()) == (69, f"{SHARES}/artifacts isn't there yet")
    echo.share("artifacts")
    said(echo.bootstrap())


def test_what_a_guest_lacks_is_told_and_opens_no_window(echo: Mac) -> None:
    for lack, sentence in (
        ("no-sudo", "the guest's user admin may not sudo without a password"),
        ("no-developer-tools", "the guest has no Python 3.9 or later: "),
        ("no-synthetic", f"/workspace can't be made: macOS doesn't follow {SYNTHETIC}"),
    ):
        (echo.host / lack).touch()
        code, told = refused(echo.bootstrap())
        assert code == 71
        assert told == sentence or (sentence.endswith(": ") and told.startswith(sentence))
        (echo.host / lack).unlink()


def test_an_old_python_is_passed_over(echo: Mac) -> None:
    echo.sh("mkdir -p /opt/homebrew/bin /usr/local/bin")
    old, new = "/opt/homebrew/bin/python3", "/usr/local/bin/python3"
    echo.at(old).write_text("#!/bin/sh\nexit 1\n")
    echo.at(new).write_text('#!/bin/sh\nexec /usr/bin/python3 "$@"\n')
    echo.sh(f"chmod 755 {old} {new}")
    (echo.host / "no-developer-tools").touch()

    said(echo.bootstrap())


def test_an_xcode_that_is_not_where_it_should_be_is_told(echo: Mac) -> None:
    xcode = "/Volumes/My Shared Files/Xcode 16"
    echo.write_control(XCODE=xcode)

    assert refused(echo.bootstrap()) == (71, f"the guest has no Xcode at {xcode}")
    echo.sh(f"mkdir -p '{xcode}/Contents/Developer'")
    said(echo.bootstrap())


def test_a_job_runs_as_the_agents_user_in_a_copy_of_the_snapshot(mac: Mac) -> None:
    snapshot, artifacts = mac.share("snapshot"), mac.share("artifacts")
    (snapshot / "README").write_text("hello\n")
    command = "pwd; id -un; echo more >> README; cat README; echo file > $PIKACI_ARTIFACTS/file"
    mac.write_control(ARTIFACTS, SNAPSHOT=f"{SHARES}/snapshot", GUEST_COMMAND=command, **JOB)

    assert said(mac.bootstrap()) == {"contract": 1, "state": "started"}
    assert said(mac.bootstrap()) == {"contract": 1, "state": "already_started"}
    wait_for((artifacts / "result.json").exists)
    assert json.loads((artifacts / "result.json").read_text())["status"] == "passed"
    assert (artifacts / "guest.log").read_text() == "/workspace/snapshot\nadmin\nhello\nmore\n"
    assert (artifacts / "files" / "file").read_text() == "file\n"
    assert (snapshot / "README").read_text() == "hello\n"


def test_a_read_only_job_works_in_the_share_itself(mac: Mac) -> None:
    (mac.share("snapshot") / "README").write_text("hello\n")
    artifacts = mac.share("artifacts")
    mac.write_control(
        ARTIFACTS,
        f"{SHARES}/snapshot\t/workspace/snapshot",
        GUEST_COMMAND="pwd; cat README; echo > README",
        WRITABLE_WORKSPACE="0",
        **JOB,
    )
    said(mac.bootstrap())

    wait_for((artifacts / "result.json").exists)
    assert (artifacts / "guest.log").read_text().startswith("/workspace/snapshot\nhello\n")
    assert json.loads((artifacts / "result.json").read_text())["status"] == "failed"


# What the first parameter names came after bash 3.2, which is macOS's.
@pytest.mark.parametrize(
    "newer",
    [r"mapfile|readarray|coproc", r"(declare|local) -\w*[Angu]", r"\$\{\w+(,|\^)", r"&>>|\|&"],
)
def test_it_is_for_an_old_bash(newer: str) -> None:
    assert re.findall(newer, BOOTSTRAP.read_text()) == []


def said(done: subprocess.CompletedProcess[str]) -> object:
    """What the runner in its place said."""
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """The exit code and the only sentence."""
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("bootstrap: ")
    return done.returncode, line.removeprefix("bootstrap: ")
