"""Jobs on remote hosts that do what they can to those who look after them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from jerichoci.machine.artifacts import MOST_DEPTH
from jerichoci.plan.plan import Retries
from jerichoci.status import Status
from remote.agent_alone import until
from remote.away import away

if TYPE_CHECKING:
    from remote.far_host import FarHost
    from runner import Runner

NO_RETRY = Retries(infrastructure=0)
IN_SCRATCH = 'cd "$(dirname "$PIKACI_ARTIFACTS")"'
NAME = "d" * 10
TINY = 11_000
"""More than go over the connection at once."""

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


REPLACEMENTS = {
    "fifo": "rm output; mkfifo output; sleep 1",
    "link": "rm output; ln -s /dev/zero output; sleep 1",
    "directory": "rm output; mkdir output; sleep 1",
    "none": "rm -rf ./*",
}


async def test_a_log_that_isnt_one_any_more_is_nobody_elses_trouble(
    runner: Runner, host: FarHost
) -> None:
    bad = [
        away(name, f"{IN_SCRATCH} && {text}; exit 3", host, retries=NO_RETRY)
        for name, text in REPLACEMENTS.items()
    ]
    cut = away("cut", f"{IN_SCRATCH}; seq 100; sleep 0.5; : > output; echo after", host)
    ended = await runner.run(*bad, cut, away("good", "sleep 1.5; echo fine", host))
    assert ended.job("good").status is Status.PASSED
    assert ended.said("good") == ["fine"]
    for name in REPLACEMENTS:
        job = ended.job(name)
        assert (job.failure_kind, job.exit_code) == ("test_failure", 3), name
        assert "Traceback" not in ended.log(name)
        assert len(ended.log(name)) < 10_000
    # One that is cut off is followed no further.
    assert ended.job("cut").status is Status.PASSED
    assert ended.said("cut")[:100] == [str(number) for number in range(1, 101)]
    await until(lambda: host.processes() == [])


async def test_artifacts_that_cant_be_had_are_noted(runner: Runner, host: FarHost) -> None:
    texts = {
        "sly": "rm -r $PIKACI_ARTIFACTS; ln -s /etc $PIKACI_ARTIFACTS",
        "deep": f"cd $PIKACI_ARTIFACTS && python3 -c '{DIG}' 2000",
    }
    jobs = [away(name, text, host, retries=NO_RETRY) for name, text in texts.items()]
    ended = await runner.run(*jobs)
    sly, deep = (ended.job(name) for name in texts)
    assert (sly.status, sly.artifacts) == (Status.PASSED, [])
    assert [note[:14] for note in sly.notes] == ["no artifacts: "]
    assert "Not a directory" in (sly.message or "")
    assert (deep.status, deep.artifacts) == (Status.PASSED, [])
    assert deep.notes == ["no artifacts: directories are nested more than 200 deep (on far1)"]
    await until(lambda: list(host.work_dir.glob("runs/*/scratch/*")) == [])


async def test_deep_many_and_odd_artifacts_come_over_whole(runner: Runner, host: FarHost) -> None:
    odd = r"""
        echo > $'new\nline'; echo > $'bad\xff'; echo > ...; echo > -rf; echo > 'back\slash'
        mkdir '$(id)'; echo > '$(id)/"'"'"'; ü'; echo > $(printf 'x%.0s' {1..255})
        mkfifo fifo; ln -s /etc/passwd link; mknod device c 1 3 || true; : > empty
        chmod 000 empty
    """
    texts = {
        "deep": f"echo > top; python3 -c '{DIG}' {MOST_DEPTH}",
        "many": f"python3 -c '{MANY}'",
        "odd": odd,
    }
    jobs = [away(name, f"cd $PIKACI_ARTIFACTS; {text}", host) for name, text in texts.items()]
    ended = await runner.run(*jobs)
    assert ended.record.status is Status.PASSED, [job.message for job in ended.record.jobs]
    files = {name: ended.layout.attempt(name, 1) / "artifacts" / "files" for name in texts}

    leaf, top = ended.job("deep").artifacts
    assert (leaf.path, top.path) == ("/".join([*[NAME] * MOST_DEPTH, "leaf"]), "top")
    assert leaf.sha256 == hashlib.sha256(b"x").hexdigest()
    assert (files["deep"] / leaf.path).read_text() == "x"

    assert len(ended.job("many").artifacts) == TINY
    for number in (0, 1, TINY // 2, TINY - 1):
        assert (files["many"] / "many" / str(number)).read_text() == f"this is number {number}"

    assert [row.path for row in ended.job("odd").artifacts] == sorted(
        ["new\nline", "bad\ufffd", "...", "-rf", "back\\slash", "$(id)/\"'; ü", "x" * 255, "empty"]
    )
