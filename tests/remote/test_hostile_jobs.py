"""Jobs on remote hosts that do what they can to those who look after them."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from jerichoci.machine.artifacts import MOST_DEPTH
from jerichoci.plan.plan import Retries
from jerichoci.status import Status
from remote.agent_alone import until
from remote.away import away

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

NO_RETRY = Retries(infrastructure=0)
IN_SCRATCH = 'cd "$(dirname "$PIKACI_ARTIFACTS")"'
NAME = "d" * 10
TINY = 20_000

DIG = f"""
import os, sys
for _ in range(int(sys.argv[1])):
    os.mkdir("{NAME}")
    os.chdir("{NAME}")
open("leaf", "w").write("x")
"""
MANY = f"""
import os
os.mkdir("many")
for number in range({TINY}):
    open(f"many/{{number}}", "w").write(f"this is number {{number}}")
"""


@pytest.mark.parametrize(
    "replacement",
    [
        "rm output; mkfifo output; sleep 1",
        "rm output; ln -s /dev/zero output; sleep 1",
        "rm output; mkdir output; sleep 1",
        "rm -rf ./*",
    ],
)
async def test_a_log_that_isnt_one_any_more_is_nobody_elses_trouble(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, replacement: str
) -> None:
    hosts_config(far_host)
    bad = away("bad", f"{IN_SCRATCH}; {replacement}; exit 3", far_host, retries=NO_RETRY)
    ended = await runner.run(bad, away("good", "sleep 1.5; echo fine", far_host))
    assert ended.job("good").status is Status.PASSED
    assert ended.said("good") == ["fine"]
    assert (ended.job("bad").failure_kind, ended.job("bad").exit_code) == ("test_failure", 3)
    assert "Traceback" not in ended.log("bad")
    assert len(ended.log("bad")) < 10_000
    await until(lambda: far_host.processes() == [])


async def test_a_log_that_is_cut_off_is_followed_no_further(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    text = f"{IN_SCRATCH}; seq 100; sleep 0.5; : > output; echo after"
    began = time.monotonic()
    ended = await runner.run(away("cut", text, far_host))
    assert ended.job("cut").status is Status.PASSED
    assert ended.said("cut")[:100] == [str(number) for number in range(1, 101)]
    assert time.monotonic() - began < 20


async def test_no_directory_of_artifacts_is_taken_for_another(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    text = "rm -r $PIKACI_ARTIFACTS; ln -s /etc $PIKACI_ARTIFACTS"
    ended = await runner.run(away("sly", text, far_host, retries=NO_RETRY))
    assert ended.job("sly").status is Status.PASSED
    assert [note[:14] for note in ended.job("sly").notes] == ["no artifacts: "]
    assert "Not a directory" in (ended.job("sly").message or "")
    assert ended.job("sly").artifacts == []


async def test_deep_artifacts_come_over(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    text = f"cd $PIKACI_ARTIFACTS; echo > top; python3 -c '{DIG}' {MOST_DEPTH}"
    ended = await runner.run(away("deep", text, far_host))
    leaf, top = ended.job("deep").artifacts
    assert (leaf.path, top.path) == ("/".join([*[NAME] * MOST_DEPTH, "leaf"]), "top")
    assert leaf.sha256 == hashlib.sha256(b"x").hexdigest()
    files = ended.layout.attempt("deep", 1) / "artifacts" / "files"
    assert (files / leaf.path).read_text() == "x"


async def test_directories_that_are_nested_too_deep_are_noted(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    text = f"cd $PIKACI_ARTIFACTS; python3 -c '{DIG}' 2000"
    ended = await runner.run(away("deep", text, far_host))
    deep = ended.job("deep")
    assert (deep.status, deep.artifacts) == (Status.PASSED, [])
    assert deep.notes == ["no artifacts: directories are nested more than 200 deep (on far1)"]
    await until(lambda: list(far_host.work_dir.glob("runs/*/scratch/*")) == [])


async def test_many_tiny_artifacts_come_over_whole(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    text = f"cd $PIKACI_ARTIFACTS; python3 -c '{MANY}'"
    ended = await runner.run(away("many", text, far_host))
    many = ended.job("many")
    assert many.status is Status.PASSED
    assert len(many.artifacts) == TINY
    files = ended.layout.attempt("many", 1) / "artifacts" / "files" / "many"
    for number in (0, 1, TINY // 2, TINY - 1):
        assert (files / str(number)).read_text() == f"this is number {number}"


async def test_odd_names_and_what_is_no_file(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    text = r"""
        cd $PIKACI_ARTIFACTS
        echo > $'new\nline'; echo > $'bad\xff'; echo > ...; echo > -rf; echo > 'back\slash'
        mkdir '$(id)'; echo > '$(id)/"'"'"'; ü'; echo > $(printf 'x%.0s' {1..255})
        mkfifo fifo; ln -s /etc/passwd link; mknod device c 1 3 || true; : > empty
        chmod 000 empty
    """
    ended = await runner.run(away("odd", text, far_host))
    job = ended.job("odd")
    assert job.status is Status.PASSED
    assert [row.path for row in job.artifacts] == sorted(
        ["new\nline", "bad\ufffd", "...", "-rf", "back\\slash", "$(id)/\"'; ü", "x" * 255, "empty"]
    )
