"""What becomes of an argv on its way through a shell."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jerichoci.remote.ssh.connection import connect
from jerichoci.remote.ssh.shell_line import encoded, shell_line
from remote.connecting import trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from remote.plain_sshd import PlainSshd

ECHO = ["/usr/bin/printf", r"%s\0"]
AWKWARD = [
    "",
    "-n",
    "--",
    "~",
    "~root",
    "a\nb\n",
    "\r\n",
    "\t ",
    "'",
    '"',
    "\\",
    "\\\\'",
    "!",
    "!!",
    "$HOME",
    "$(id)",
    "`id`",
    "*",
    "a;b",
    "a&b",
    "|",
    ">x",
    "#c",
    "=x",
    "{a,b}",
    "\u00e4\U0001f600",
    "\udcff\udc80",
    "\x01\x7f\x1b[0m",
]

raw = st.binary(max_size=40).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)
argvs = st.lists(st.one_of(st.sampled_from(AWKWARD), text, raw), max_size=8)


def words(output: bytes) -> list[str]:
    return [os.fsdecode(word) for word in output.split(b"\0")[:-1]]


def run(shell: str, argv: Sequence[str], cwd: Path | None = None) -> list[str]:
    line = encoded(shell_line([*ECHO, *argv, "end"], cwd=cwd))
    output = subprocess.run([shell, "-c", line], check=True, capture_output=True).stdout
    return words(output)[:-1]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_awkward_words_arrive_unchanged(shell: str) -> None:
    assert run(shell, AWKWARD) == AWKWARD


@pytest.mark.parametrize("shell", ["dash", "bash"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(argv=argvs)
def test_any_argv_arrives_unchanged(shell: str, argv: list[str]) -> None:
    assert run(shell, argv) == argv


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_line_begins_in_its_directory_whatever_that_is_called(shell: str, tmp_path: Path) -> None:
    for name in ("-", "-P", "it's", "a b", "$x\n", "\udcff", "~"):
        cwd = tmp_path / name
        cwd.mkdir()
        line = encoded(shell_line(["pwd"], cwd=cwd))
        output = subprocess.run([shell, "-c", line], check=True, capture_output=True).stdout
        assert os.fsdecode(output) == f"{cwd}\n"


def test_nothing_runs_where_the_directory_is_not_there(tmp_path: Path) -> None:
    line = encoded(shell_line(["echo", "ran"], cwd=tmp_path / "none"))
    ended = subprocess.run(["sh", "-c", line], check=False, capture_output=True)
    assert ended.returncode != 0
    assert ended.stdout == b""


def test_the_shell_becomes_the_program() -> None:
    line = shell_line(["sh", "-c", "echo $PPID"])
    output = subprocess.run(["sh", "-c", line], check=True, capture_output=True).stdout
    assert int(output) == os.getpid()


def test_an_empty_argv_is_refused() -> None:
    with pytest.raises(ValueError, match="names no program"):
        shell_line([])


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        shell_line(["echo", "a\0b"])
    with pytest.raises(ValueError, match="NUL"):
        shell_line(["echo"], cwd=Path("/a\0b"))


@pytest.mark.usefixtures("home")
async def test_words_arrive_unchanged_through_a_real_sshd(sshd: PlainSshd, tmp_path: Path) -> None:
    argv = [*AWKWARD, *(os.fsdecode(bytes([byte])) for byte in range(1, 256))]
    line = encoded(shell_line([*ECHO, *argv], cwd=tmp_path))
    async with asyncio.timeout(60), await connect(trusted(sshd)) as connection:
        ended = await connection.run(line, encoding=None, check=True)
    assert isinstance(ended.stdout, bytes)
    assert words(ended.stdout) == argv
