from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from forge_scenes import PATHS, lane, work
from pika_git.persistence import auth, queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge_scenes import Scene
    from served import Caller, Served

MOST_STATEMENTS = 12
MOST_BYTES = 200_000


@contextmanager
def counted(scene: Scene) -> Iterator[list[str]]:
    """The statements that the database gets meanwhile, but for those that begin transactions."""
    found: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            found.append(statement)

    event.listen(scene.database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(scene.database.engine, "before_cursor_execute", note)


@pytest.mark.parametrize("lanes", [6, 200])
def test_a_page_is_at_most_12_statements(scene: Scene, admin: Caller, lanes: int) -> None:
    work(scene, lanes)
    admin.get("/")  # it notes when the token was used
    for path in PATHS:
        with counted(scene) as statements:
            answer = admin.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert 0 < len(statements) <= MOST_STATEMENTS, (path, len(statements))
        assert len(answer.content) < MOST_BYTES, path


def test_pages_have_no_inline_script_or_style(scene: Scene, admin: Caller) -> None:
    work(scene)
    for path in PATHS:
        answer = admin.get(path)
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", answer.text), path
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_each_page_has_a_title_of_its_own(scene: Scene, admin: Caller) -> None:
    work(scene)
    paths = [path for path in PATHS if path not in {"/lanes/2", "/lanes/3", "/lanes/4"}]
    titles = [re.findall(r"<title>(.*?)</title>", admin.get(path).text)[0] for path in paths]
    assert len(set(titles)) == len(titles)


def test_what_people_and_programs_wrote_is_escaped(scene: Scene, admin: Caller) -> None:
    work(scene)
    page = admin.get("/runs/1").text
    assert "a &lt;b&gt;" in page
    assert "fix/%41-ünïcode &lt;b&gt;" in page
    assert "<b>" not in page


def test_a_run_without_lanes_says_why(scene: Scene, admin: Caller) -> None:
    branch = scene.branch(scene.repo(), "fix")
    scene.run(branch, state="skipped", finished_at=scene.now)
    broken = scene.run(
        branch,
        state="failed",
        finished_at=scene.now,
        message="flake.nix:3: no `;` <b>",
        hint="add it",
    )
    assert "No lanes were selected" in admin.get("/runs/1").text
    page = admin.get(f"/runs/{broken}").text
    assert "flake.nix:3: no <code>;</code> &lt;b&gt;" in page
    assert "Hint: add it" in page


def test_a_log_of_200_mb_shows_its_ends_and_leads_to_the_rest(scene: Scene, admin: Caller) -> None:
    worker = scene.worker()
    scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    claim = scene.claim(worker)
    root = scene.record(claim, "passed", b"", begun=scene.now, secs=5)
    with (root / "jobs/test/attempts/1/host.log").open("wb") as log:
        log.write(b"".join(b"first %d\n" % number for number in range(9)))
        log.seek(200_000_000)
        log.write(b"\n" + b"".join(b"last <%d>\n" % number for number in range(20_000)))
    page = admin.get("/lanes/1")
    assert len(page.content) < MOST_BYTES
    assert "first 0" in page.text
    assert "last &lt;19999&gt;" in page.text
    (link,) = re.findall(r'<a href="([^"]*)" data-fill', page.text)
    part = admin.get(link.replace("&amp;", "&"))
    assert part.status_code == 200
    assert len(part.content) < MOST_BYTES


def test_parts_of_a_log_put_together_are_the_log(scene: Scene, admin: Caller) -> None:
    worker = scene.worker()
    scene.run(scene.branch(scene.repo(), "fix"), [lane("a")])
    lines = [f"line {number} é {'x' * (number % 300)}\n" for number in range(3000)]
    scene.record(scene.claim(worker), "passed", "".join(lines).encode(), begun=scene.now, secs=5)
    found, offset = "", 0
    while True:
        answer = admin.get(f"/lanes/1/log?job=test&kind=host&bare=1&offset={offset}")
        found += answer.text
        if int(answer.headers["X-Next-Offset"]) == offset:
            break
        offset = int(answer.headers["X-Next-Offset"])
    assert found == "".join(lines)


def test_the_queue_shows_10000_lanes_page_by_page(scene: Scene, admin: Caller) -> None:
    scene.worker()
    branch = scene.branch(scene.repo(), "fix")
    for _ in range(20):
        scene.now += 1
        scene.run(branch, [lane(f"n{number}") for number in range(500)])
    seen: list[str] = []
    path = "/queue"
    for _ in range(4):
        page = admin.get(path).text
        assert "10000 waiting" in page
        seen += re.findall(r'<span class="place">(\d+)</span>', page)
        path = "/queue?cursor=" + re.findall(r"/queue\?cursor=([\w-]+)", page)[0]
    assert seen == [str(number) for number in range(1, 201)]


def test_buttons_do_what_they_say_and_lead_back(scene: Scene, admin: Caller) -> None:
    work(scene)
    form = {"why": "it hangs"}
    answer = admin.send("POST", "/lanes/3/cancel", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/lanes/3?did=cancel")
    page = admin.get("/lanes/3?did=cancel").text
    assert "cancelled by ann (it hangs)" in page
    assert "Cancelled, or will be" in page
    assert "did=" not in admin.get("/lanes/3?did=<b>").text
    again = admin.send("POST", "/lanes/2/rerun", data={})
    assert again.headers["location"].startswith("/runs/2")
    assert "#1</a> again, started by ann" in admin.get("/runs/2").text
    assert admin.send("POST", "/queue/pause", data=form).status_code == 303
    assert "no lane begins: " in admin.get("/queue").text
    made = admin.send("POST", "/admin/tokens", data={"name": "ben", "role": "read"})
    assert re.search(r'value="ph_[\w-]{43}"', made.text)


def test_an_act_that_is_refused_says_why_on_a_page(scene: Scene, admin: Caller) -> None:
    work(scene)
    answer = admin.send("POST", "/lanes/2/cancel", data={"why": "x"})
    assert answer.status_code == 409
    assert "is over: success" in answer.text
    answer = admin.send("POST", "/lanes/3/cancel", data={"why": " "})
    assert answer.status_code == 422
    assert "say why" in answer.text
    for path in ("/runs/99", "/lanes/99", "/branches/99", "/lanes/1?attempt=9", "/x"):
        answer = admin.get(path)
        assert (answer.status_code, "<h1>404</h1>" in answer.text) == (404, True), path


def test_roles_decide_what_is_shown(scene: Scene, shown: Served, admin: Caller) -> None:
    work(scene)
    reader = shown.caller("read", by="session")
    reader.headers["Accept"] = "text/html"
    assert '<form method="post" action="/runs/' not in reader.get("/runs/1").text
    assert '<form method="post" action="/runs/1/cancel' in admin.get("/runs/1").text
    assert "/admin" not in reader.get("/").text
    refused = reader.get("/admin")
    assert refused.status_code == 403
    assert "this needs admin" in refused.text


def test_a_browser_without_a_session_is_led_to_the_login_and_back(
    scene: Scene, shown: Served
) -> None:
    stranger = shown.with_headers({"Accept": "text/html", "Origin": shown.url})
    answer = stranger.get("/queue?cursor=x")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=%2Fqueue%3Fcursor%3Dx",
    )
    login = stranger.get(answer.headers["location"])
    assert 'value="/queue?cursor=x"' in login.text
    _, secret = shown.token("read")
    form = {"token": secret, "next": "/queue?cursor=x"}
    begun = stranger.send("POST", "/login", data=form)
    assert begun.headers["location"] == "/queue?cursor=x"
    wrong = stranger.send("POST", "/login", data={"token": "ph_x"})
    assert (wrong.status_code, "<h1>403</h1>" in wrong.text) == (403, True)
    assert scene.execute("SELECT count(*) FROM session") == 1
    assert auth.PREFIX not in begun.text


def test_files_are_kept_by_browsers_until_they_change(shown: Served) -> None:
    stranger = shown.caller()
    page = stranger.get("/login", headers={"Accept": "text/html"}).text
    for address in re.findall(r'"(/static/[^"]+)"', page):
        answer = stranger.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
    assert stranger.get("/static/../templates/base.html").status_code == 404


def test_a_superseded_run_leads_to_the_newer_one(scene: Scene, admin: Caller) -> None:
    branch = scene.branch(scene.repo(), "fix")
    old = scene.run(branch, [lane("a")])
    new = scene.run(branch, [lane("a")])
    with scene.database.write() as connection:
        queue.supersede(connection, new, scene.now)
    page = admin.get(f"/runs/{old}").text
    assert f'Superseded by <a href="/runs/{new}">' in page
    assert f"superseded by run {new}" in page
