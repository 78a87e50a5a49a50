"""What the scripts in ci/bootstrap make of machines unlike this one: programs are stand-ins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[2] / "ci" / "bootstrap"
OWN = "http://own/debian/ Debian"
OTHER = "http://other/debian/ Debian"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def stand_in(programs: Path, name: str, script: str) -> None:
    path = programs / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def bash(programs: Path, script: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(programs)}
    env["NIX_STATE_DIR"] = str(programs)
    argv = ["bash", "-c", f". '{BOOTSTRAP}/common.sh'; {script}"]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("codename", "targets", "mirror"),
    [
        ("bookworm", [f"{OTHER} sid main", f"{OWN} bookworm main"], "http://own/debian/"),
        ("forky", [f"{OWN} sid main", "http://x/ Third sid main"], "http://own/debian/"),
        ("", [f"{OWN} sid main"], "http://own/debian/"),
        ("trixie", ["http://x/ Third trixie main", f"{OTHER} trixie contrib"], ""),
        ("trixie", [f"{OTHER} trixie-security main", f"{OWN} trixie main"], "http://own/debian/"),
        ("trixie", ["http://x/ Third trixie main", f"{OWN} trixie main"], "http://own/debian/"),
        ("trixie", ["http://x/ Debian Backports trixie-backports main"], ""),
    ],
)
def test_the_mirror_is_one_that_apt_has(
    programs: Path, codename: str, targets: list[str], mirror: str
) -> None:
    stand_in(programs, "apt-get", "".join(f"echo '{line}'\n" for line in targets))
    done = bash(programs, f"debian_codename={codename}; debian_mirror")
    assert (done.returncode, done.stdout.strip()) == (0, mirror)


@pytest.mark.parametrize(
    ("sudo", "code", "said"),
    [
        ("exit 0", 0, "went on"),
        ("[ $1 != -n ]", 0, "went on"),
        ("exit 1", 1, "bootstrap: Doing it needs root, and sudo does not give it to someone"),
    ],
)
def test_rights_are_looked_at_first(programs: Path, sudo: str, code: int, said: str) -> None:
    stand_in(programs, "id", "case $1 in -u) echo 1000;; *) echo someone;; esac")
    stand_in(programs, "sudo", sudo)
    done = bash(programs, "need_root 'Doing it'; echo went on >&2")
    assert done.returncode == code
    assert done.stderr.startswith(said)


def nix(programs: Path, *, uid: int, group: str, script: str) -> subprocess.CompletedProcess[str]:
    """The functions of nix.sh on a machine with a Nix of its own."""
    stand_in(programs, "id", f"case $1 in -u) echo {uid};; *) echo someone;; esac")
    stand_in(programs, "nix", f"echo '{group}'")
    text = (BOOTSTRAP / "nix.sh").read_text(encoding="utf-8")
    begin, end = text.index("prefix="), text.index("# relink DIR")
    return bash(programs, f"suite=x recipe=1; {text[begin:end]}\n{script}")


@pytest.mark.parametrize(
    ("uid", "group", "is_ours"),
    [(0, "", True), (0, "root", True), (0, "no-such-group", False), (1000, "no-such-group", True)],
)
def test_a_nix_whose_builders_have_no_group_is_not_used(
    programs: Path, uid: int, group: str, *, is_ours: bool
) -> None:
    done = nix(programs, uid=uid, group=group, script="own_nix_is_ours && echo ours")
    assert (done.stdout == "ours\n") is is_ours
    assert ("builds as group no-such-group, which isn't there" in done.stderr) is not is_ours


def unpacking(programs: Path) -> subprocess.CompletedProcess[str]:
    """What forge-packages.sh does where apt has a package of nginx, and PATH has no program."""
    text = (BOOTSTRAP / "forge-packages.sh").read_text(encoding="utf-8")
    begin, end = text.index("unpack_nginx() ("), text.index("install_axe() {")
    stand_in(programs, "dpkg-deb", "mkdir -p $3/usr/sbin && cp $2 $3/usr/sbin/nginx")
    return bash(programs, f"nginx='{programs}/copy'; {text[begin:end]}\nunpack_nginx")


def test_nginx_is_unpacked_and_not_installed(programs: Path) -> None:
    stand_in(programs, "apt-get", '[ "$1" = download ] && echo the program >nginx_1.deb')
    done = unpacking(programs)
    assert (done.returncode, done.stdout) == (0, "")
    assert (programs / "copy/nginx").read_text() == "the program\n"


def test_lists_of_apt_that_are_missing_are_fetched_once(programs: Path) -> None:
    lists = programs / "lists"
    stand_in(programs, "id", "case $1 in -u) echo 0;; *) echo root;; esac")
    update = f"[ $1 = update ] && echo updated >>'{lists}'"
    stand_in(programs, "apt-get", f"{update} || {{ [ -e '{lists}' ] && echo new >nginx_1.deb; }}")
    assert unpacking(programs).returncode == 0
    assert (lists.read_text(), (programs / "copy/nginx").read_text()) == ("updated\n", "new\n")


def test_without_an_nginx_in_apt_that_is_said(programs: Path) -> None:
    stand_in(programs, "id", "case $1 in -u) echo 0;; *) echo root;; esac")
    stand_in(programs, "apt-get", "[ $1 = update ] || { echo 'E: no package' >&2; exit 100; }")
    done = unpacking(programs)
    assert done.returncode != 0
    assert "E: no package" in done.stderr
    assert not (programs / "copy").exists()
