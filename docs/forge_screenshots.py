"""Take the pictures of the forge's pages: `python docs/forge_screenshots.py [DIRECTORY]`.

A forge of a day's work is made up, served on loopback, and shown in Chromium.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "orchestrator"), str(ROOT / "tests")]

from browser import browser, log_in, look, whole_page  # noqa: E402 - found by the path above
from forge_scenes import Scene, lane  # noqa: E402 - likewise
from pika_git.data import DataDir  # noqa: E402 - likewise
from pika_git.forge_service.forge import Forge  # noqa: E402 - likewise
from pika_git.persistence import auth, queue  # noqa: E402 - likewise
from pika_git.web.auth import COOKIE  # noqa: E402 - likewise
from served import serving  # noqa: E402 - likewise

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

WIDTH = 1120
FAILED_LOG = b"""\
\x1b[1m\x1b[32m   Compiling\x1b[0m parser v0.4.1 (/workspace/snapshot/parser)
\x1b[1m\x1b[32m    Finished\x1b[0m `test` profile [unoptimized + debuginfo] target(s) in 6.42s
\x1b[1m\x1b[32m     Running\x1b[0m unittests src/lib.rs

running 34 tests
test literal::tests::hex_digits ... \x1b[32mok\x1b[0m
test literal::tests::underscore ... \x1b[32mok\x1b[0m
test number::tests::leading_zero ... \x1b[31mFAILED\x1b[0m

failures:

---- number::tests::leading_zero stdout ----
thread 'number::tests::leading_zero' panicked at src/number.rs:118:9:
assertion `left == right` failed: a leading zero is decimal
  left: \x1b[31m8\x1b[0m
 right: \x1b[32m10\x1b[0m
see https://docs.example.org/parser/numbers for the grammar

test result: \x1b[31mFAILED\x1b[0m. 33 passed; 1 failed; finished in 0.09s
"""
RUNNING_LOG = b"""\
building the guest's store: 214 paths, 3 to copy
\x1b[1m\x1b[32m   Compiling\x1b[0m cli v0.4.1 (/workspace/snapshot/cli)
\x1b[1m\x1b[32m     Running\x1b[0m tests/round_trip.rs
test round_trip::small ... \x1b[32mok\x1b[0m
test round_trip::unicode ... \x1b[32mok\x1b[0m
"""
TESTS = {
    "total": 34,
    "passed": 33,
    "failed": 1,
    "errors": 0,
    "skipped": 0,
    "duration_ms": 90,
    "reports": [{"path": "cargo.json", "format": "cargo", "unreadable": None}],
    "failures": [
        {
            "name": "number::tests::leading_zero",
            "suite": "src/lib.rs",
            "status": "failed",
            "file": "src/number.rs",
            "line": 118,
            "message": "assertion `left == right` failed: a leading zero is decimal\n  left: 8",
        }
    ],
}


def populate(scene: Scene) -> int:
    """A day's work; the run that has one failed, one running and one waiting lane."""
    end = scene.now
    worker = scene.worker("builder", host="oak", slots=3)
    repo = scene.repo("parser")
    names = ("main", "faster-lexer", "docs-typos", "unicode-idents")
    branches = {}
    for hours, name in zip((9.0, 6.5, 3.2, 1.4), names, strict=True):
        scene.now = end - hours * 3600
        branches[name] = scene.branch(repo, name, head=f"{abs(hash(name)):040x}"[-40:])
        scene.run(branches[name], [lane("unit", "check-unit"), lane("docs", "check-docs")])
        for state in ("success", "failed" if name == "unicode-idents" else "success"):
            claim = scene.claim(worker)
            scene.now += 214
            cause = {"code": "command_failed", "message": "the command exited with 2"}
            kind = {"failure_kind": "test_failure", "cause": cause} if state == "failed" else {}
            scene.finish(claim, state, **kind)
    scene.now = end - 1900
    linux = lane("linux", "check-linux", group_name="linux")
    scene.run(branches["main"], [linux])
    holder = scene.claim(worker)
    scene.now += 14
    fix = scene.branch(repo, "leading-zero")
    unit = lane("unit", "check-unit")
    selection = [{"id": "site", "title": "check-site", "selected": False}]
    selection[0]["reason"] = "no path that changed matches site/**"
    import json

    run = scene.run(
        fix,
        [unit, lane("round-trip", "check-round-trip"), linux, lane("docs", "check-docs")],
        selection=json.dumps(selection),
    )
    begun = scene.now
    claims = {claim.name: claim for claim in (scene.claim(worker), scene.claim(worker))}
    scene.now += 48
    cause = {
        "phase": "wait_for_completion",
        "code": "command_failed",
        "message": "1 of 34 tests failed: number::tests::leading_zero",
        "hint": "run it here with `pikaci run unit --source git+https://...?rev=9f3c1e7`",
    }
    scene.record(
        *(claims["unit"], "failed", FAILED_LOG),
        begun=begun + 1,
        secs=29,
        cause=cause,
        tests=TESTS,
    )
    scene.finish(claims["unit"], "failed", failure_kind="test_failure", cause=cause, exit_code=101)
    docs = scene.claim(worker)
    scene.now += 61
    scene.record(docs, "passed", b"", begun=scene.now - 60, secs=40)
    scene.finish(docs)
    scene.now = end - 3
    scene.record(claims["round-trip"], "running", RUNNING_LOG, begun=begun + 1, secs=29)
    for claim in (holder, claims["round-trip"]):
        queue.renew(scene.database, worker, {claim.lane_id: (claim.token, 40)})
    scene.now = end
    return run


def shoot(driver: WebDriver, url: str, path: Path) -> None:
    """Write a picture of a page."""
    driver.get(url)
    time.sleep(0.3)
    path.write_bytes(whole_page(driver))


def main(directory: Path) -> None:
    """Make the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        scene = Scene(DataDir(Path(temporary) / "forge"))
        run = populate(scene)
        database = scene.database
        with database.write() as connection:
            number, _ = auth.add_token(connection, "ann", "write", scene.now)
            secret = auth.log_in(connection, number, scene.now, 3600)
        with serving(Forge(database, scene.data)) as served, browser() as driver:
            log_in(driver, served.url, COOKIE, secret)
            look(driver, WIDTH, "light", scale=2)
            page = served.caller("read").get(f"/runs/{run}").text
            branch = page.partition("/branches/")[2].partition('"')[0]
            shoot(driver, f"{served.url}/branches/{branch}", directory / "forge-branch.png")
            shoot(driver, f"{served.url}/runs/{run}", directory / "forge-run.png")
        scene.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
