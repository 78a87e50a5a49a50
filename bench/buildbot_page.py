"""Runs docs/ci/buildbot.md: a push that passes, one that fails and one whose build is stopped.

Buildbot comes from PyPI, once, into the benches' cache. `nix run .#pikaci` starts the pikaci of
this checkout: the real one needs nixpkgs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from buildbot_place import free_port, programs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from e2e.project import Project, shim, wait_for

ROOT = Path(__file__).resolve().parents[1]
TARGETS = """
  check = {
    trigger = "branch";
    jobs.it.command = "echo said; test ! -e slow || sleep 600; test ! -e broken";
  };
"""
LANES = '[[branch.lanes]]\nid = "check"\ntarget = "check"\n'
DEADLINE_SECS = 120.0
PUSHES = {"good": "success", "broken": "failure", "slow": "cancelled"}
RESULTS = {0: "success", 2: "failure", 6: "cancelled"}


def main() -> None:
    """Do it; the exit code is 1 if a push had another result than it should."""
    with tempfile.TemporaryDirectory(prefix="pikaci-buildbot-") as name:
        directory = Path(name)
        project = Project.committed(directory, TARGETS)
        project.lanes(LANES)
        project.tree.commit()
        place = directory / "ci"
        place.mkdir()
        found = _run(project, place)
    print(json.dumps(found, indent=2))
    sys.exit(found != PUSHES)


def _run(project: Project, place: Path) -> dict[str, str]:
    workers, port = free_port(), free_port()
    (place / "master.cfg").write_text(configuration(project, workers, port))
    _, *lines = block("sh").splitlines()  # the first installs Buildbot
    script = "\n".join(lines).replace("worker localhost", f"worker 127.0.0.1:{workers}")
    here = f'exec "{sys.executable}" -m pikaci "$@"'
    run_app = f'case "$1 $2" in "run .#pikaci") shift 3; {here};; esac; exec "$real" "$@"'
    path = shim(place / "shims", "nix", run_app)
    env = project.with_env(PATH=f"{programs()}:{path}").env()
    found = {}
    try:
        _shell(script, place, env)
        _until(port, "changesources", lambda rows: rows[0]["master"])
        for number, file in enumerate(PUSHES, start=1):
            project.write(file)
            project.tree.commit()
            url = f"builders/lanes/builds/{number}"
            if file == "slow":
                wait_for(lambda: _is_at_work(project))
                (build,) = _until(port, url, bool)
                _stop(port, f"builds/{build['buildid']}")
            (build,) = _until(port, url, lambda rows: rows[0]["complete"])
            found[file] = RESULTS.get(build["results"], str(build["results"]))
            steps = json.loads(_get(port, f"{url}/steps"))["steps"]
            (step,) = (row["stepid"] for row in steps if row["name"] == "lanes")
            print(_get(port, f"steps/{step}/logs/stdio/raw").decode(), file=sys.stderr)
    finally:
        _shell("buildbot-worker stop worker; buildbot stop master", place, env)
    return found


def block(language: str) -> str:
    """The one block of the page in a language."""
    page = (ROOT / "docs" / "ci" / "buildbot.md").read_text()
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(text)


def configuration(project: Project, workers: int, port: int) -> str:
    """The page's master.cfg, with the values of this place in the lines that set them."""
    values = {
        "REPOSITORY": str(project.root),
        "POLL_SECS": 1,
        "WORKERS": f"tcp:{workers}:interface=127.0.0.1",
        "PORT": f"tcp:{port}:interface=127.0.0.1",
        "URL": f"http://127.0.0.1:{port}/",
    }
    text = block("python")
    for name, value in values.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
        if count != 1:
            sys.exit(f"{name} is not set once in the page")
    return text


def _shell(script: str, place: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-ec", script], cwd=place, env=env, stdout=sys.stderr, check=False
    )
    if done.returncode:
        print(f"{script!r} exited with {done.returncode}", file=sys.stderr)


def _get(port: int, what: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/{what}", timeout=30) as answer:
        data: bytes = answer.read()
        return data


def _is_at_work(project: Project) -> bool:
    """Whether the job of the newest run, which is not over, has printed something."""
    run = project.run_dir()
    log = run / "jobs" / "it" / "attempts" / "1" / "host.log"
    is_running = project.record()["status"] == "running"
    return is_running and log.exists() and "said" in log.read_text()


def _stop(port: int, what: str) -> None:
    body = json.dumps({"jsonrpc": "2.0", "method": "stop", "id": 1, "params": {}}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2/{what}", body, headers)
    urllib.request.urlopen(request, timeout=30).read()


def _until(port: int, what: str, is_there: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a predicate of rows of JSON
    """The rows of a resource, once they are as they should be."""
    deadline = time.monotonic() + DEADLINE_SECS
    while time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError):
            values = json.loads(_get(port, what))
            rows: list[dict[str, Any]] = values[what.rstrip("/0123456789").rpartition("/")[2]]
            if rows and is_there(rows):
                return rows
        time.sleep(0.2)
    sys.exit(f"{what} is not there in {DEADLINE_SECS} s")


if __name__ == "__main__":
    main()
