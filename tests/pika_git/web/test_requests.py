from __future__ import annotations

import json
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from forge_scenes import Scene, lane
from pika_git.settings import Settings
from pika_git.web.routes import RoleRoute
from served import Served, serving

if TYPE_CHECKING:
    from pika_git.forge_service.forge import Forge

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
PAUSE = "/api/v1/queue/pause"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/whoami", "/nothing", "/api/v1/lanes/x"])
def test_every_answer_has_the_headers_that_protect_it(served: Served, path: str) -> None:
    for caller in (served.caller("read"), served.caller()):
        headers = caller.get(path).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in headers


def test_a_fault_of_the_forge_is_an_answer_with_those_headers(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pika_git.forge_service import details

    monkeypatch.setattr(details, "admin", lambda *_: 1 / 0)
    answer = served.caller("read").get("/api/v1/repos")
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "code": "internal",
        "message": "the forge failed to answer: ZeroDivisionError",
        "hint": "see the service's log",
    }
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_what_a_session_changes_must_come_from_the_forges_own_page(served: Served) -> None:
    caller = served.caller("admin", by="session")
    own = caller.headers.pop("Origin")
    for headers, allowed in (
        ({}, False),
        ({"Origin": own}, True),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": own.replace("127.0.0.1", "127.0.0.2")}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": own}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": own}, False),
    ):
        answer = caller.send("POST", PAUSE, json={"why": "x"}, headers=headers)
        assert answer.status_code == (200 if allowed else 403), headers
    assert caller.get("/api/v1/whoami").status_code == 200
    token = served.caller("admin")
    headers = {"Origin": "https://evil.example"}  # a token is not sent by a browser on its own
    assert token.send("POST", PAUSE, json={"why": "x"}, headers=headers).status_code == 200


def test_behind_a_proxy_the_public_url_is_the_forges_own(forge: Forge) -> None:
    settings = Settings(public_url="https://ci.example")
    with serving(replace(forge, settings=settings)) as served:
        caller = served.caller("admin", by="session")
        caller.headers["Origin"] = "https://ci.example"
        assert caller.post(PAUSE, why="x").status_code == 200
        _, secret = served.token("read")
        login = caller.send("POST", "/login", data={"token": secret})
        assert "; Secure" in login.headers["set-cookie"]
        assert login.headers["strict-transport-security"] == "max-age=31536000"


def test_a_session_is_begun_with_a_token_and_ended_by_its_user(served: Served) -> None:
    _, secret = served.token("write", "ann")
    browser = served.with_headers({"Origin": served.url})
    login = browser.send("POST", "/login", data={"token": f" {secret} ", "next": "/runs/1?a=b"})
    assert (login.status_code, login.headers["location"]) == (303, "/runs/1?a=b")
    cookie = login.headers["set-cookie"]
    assert re.fullmatch(
        r"pika_session=[\w-]{43}; HttpOnly; Max-Age=\d+; Path=/; SameSite=lax", cookie
    )
    assert secret not in cookie
    browser.headers["Cookie"] = cookie.partition(";")[0]
    assert browser.get("/api/v1/whoami").json() == {"name": "ann", "role": "write"}
    assert browser.send("POST", "/logout").status_code == 303
    assert browser.get("/api/v1/whoami").status_code == 401


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil", "x", "/a\nb"]
)
def test_a_login_leads_to_the_forges_own_pages_only(served: Served, path: str) -> None:
    _, secret = served.token("read")
    browser = served.with_headers({"Origin": served.url})
    login = browser.send("POST", "/login", data={"token": secret, "next": path})
    assert (login.status_code, login.headers["location"]) == (303, "/")


def test_another_site_can_not_log_a_browser_in(served: Served) -> None:
    _, secret = served.token("read")
    browser = served.with_headers({"Origin": "https://evil.example"})
    assert browser.send("POST", "/login", data={"token": secret}).status_code == 403
    wrong = served.with_headers({"Origin": served.url})
    assert wrong.send("POST", "/login", data={"token": "ph_wrong"}).status_code == 403


def test_a_session_ends_in_time(served: Served, forge: Forge) -> None:
    from pika_git.persistence import auth

    number, _ = served.token("read")
    with forge.database.write() as connection:
        secret = auth.log_in(connection, number, forge.database.clock(connection) - 10, 9)
    browser = served.with_headers({"Cookie": f"pika_session={secret}"})
    assert browser.get("/api/v1/whoami").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/lanes/../../etc", 404),
        ("GET", "/api/v1/lanes/%2e%2e%2fx", 404),
        ("DELETE", "/api/v1/whoami", 405),
        ("GET", "/api/v1/lanes/-1", 422),
        ("GET", "/api/v1/lanes/99999999999999999999", 422),
        ("GET", "/api/v1/lanes/1e3", 422),
        ("GET", "/api/v1/lanes/9223372036854775807", 404),
        ("GET", "/api/v1/pikaci/runs/..", 404),
        ("GET", "/api/v1/pikaci/runs/%00", 404),
        ("POST", "/api/v1/workers/%2e%2e/resume", 404),
    ],
)
def test_ids_that_are_none_are_refused_in_json(
    served: Served, method: str, path: str, status: int
) -> None:
    answer = raw(served, f"{method} {path}", b"{}")
    assert answer.partition(b"\r\n")[0].split()[1] == str(status).encode()
    assert b'{"error":{"code":' in answer


JUNK = ("..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "x", "0", "-1", "%00", "%ff", "%F0%9F%92%A9", "a b")


def test_no_junk_in_a_path_makes_a_route_fail(served: Served, scene: Scene) -> None:
    scene.run(scene.branch(scene.repo(), "main"), [lane("a")])
    caller = served.caller("admin")
    asked = 0
    for route in served.app.routes:
        if not isinstance(route, RoleRoute) or "{" not in route.path:
            continue
        for junk in JUNK:
            path = re.sub(r"{\w+}", junk.replace(" ", "%20"), route.path)
            for method in route.methods or ():
                answer = raw(served, f"{method} {path}", b'{"why": "x"}', caller.headers)
                status = int(answer.split()[1])
                assert status in {404, 409, 422}, (method, path, answer)
                asked += 1
    assert asked > 150


def raw(
    served: Served, line: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """The answer to a request whose path no client has made tidy."""
    parts = urlsplit(served.url)
    sent = headers or served.caller("admin").headers
    head = [f"{line} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in sent.items()]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    with socket.create_connection((parts.hostname or "", parts.port or 0), 20) as client:
        client.sendall("\r\n".join(head).encode() + body)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "JSON"),
        (b"[]", "dictionary or object"),
        (b'{"why": 3}', "`why`: Input should be a valid string"),
        (b'{"why": "x", "who": "me"}', "`who`: Extra inputs are not permitted"),
        (b'{"why": "\\ud800"}', "`why`"),
        (b'{"why": "a\\u0000b"}', "can't be shown"),
        (b'{"why": "' + b"x" * 2001 + b'"}', "at most 2000 characters"),
        (b"{}", "say why"),
        (b'{"why": " "}', "say why"),
        (b"\xff", "the body can't be read"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_in_a_sentence(
    served: Served, body: bytes, says: str
) -> None:
    caller = served.caller("admin")
    headers = {"Content-Type": "application/json"}
    answer = caller.send("POST", PAUSE, content=body, headers=headers)
    assert answer.status_code in {400, 422}, answer.text
    assert says in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "invalid"


def test_a_body_that_is_too_large_is_refused_without_being_read(served: Served) -> None:
    parts = urlsplit(served.url)
    caller = served.caller("write")
    head = (
        f"POST /api/v1/hooks/push/demo HTTP/1.1\r\nHost: x\r\nContent-Length: {30 * 1024**2}\r\n"
        f"Authorization: {caller.headers['Authorization']}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as client:
        client.sendall(head.encode())
        answer = b""  # though the body never comes
        while not answer.endswith(b"}") and (more := client.recv(65536)):
            answer += more
    assert b"413" in answer.partition(b"\r\n")[0]
    assert b'"too_large"' in answer


def test_a_webhook_of_30_mb_gets_its_answer(served: Served) -> None:
    caller = served.caller("write")
    for body in (b"x" * (30 * 1024**2), iter([b"x" * 65536] * 480)):
        answer = caller.send("POST", "/api/v1/hooks/push/demo", content=body)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
    assert caller.get("/api/v1/whoami").status_code == 200


def test_a_webhook_twice_and_out_of_order_is_only_a_wake(served: Served, scene: Scene) -> None:
    scene.repo("demo")
    caller = served.caller("write")
    bodies: list[object] = [{"after": "b" * 40}, {"after": "a" * 40}, {"after": "a" * 40}, [1]]
    for body in bodies:
        answer = caller.send("POST", "/api/v1/hooks/push/demo", content=json.dumps(body))
        assert answer.status_code == 202
    assert caller.send("POST", "/api/v1/hooks/push/other").status_code == 404
    assert scene.execute("SELECT count(*) FROM push") == 1
    assert scene.execute("SELECT count(*) FROM ref_event") == 0


def test_the_forge_says_what_keeps_it_from_working(forge: Forge) -> None:
    said = ["the service takes in no pushes: see its log"]
    with serving(replace(forge, problems=lambda: said)) as served:
        answer = served.caller().get("/healthz")
        assert (answer.status_code, answer.json()["problems"]) == (503, said)
        said.clear()
        assert served.caller().get("/healthz").json() == {"status": "ok", "problems": []}
        caller = served.caller("read")
        path = forge.data.database
        path.rename(path.with_name("away"))
        answer = caller.get("/api/v1/feed")
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == f"{path} is gone"
        assert served.caller().get("/healthz").status_code == 503


def test_the_api_is_described(served: Served) -> None:
    anyone = served.caller()
    paths = anyone.get("/openapi.json").json()["paths"]
    assert {"/api/v1/lanes/{lane_id}", "/api/v1/queue", "/healthz"} <= set(paths)
    text = anyone.get("/llms.txt").text
    missing = [path for path in paths if path.startswith("/api/v1/") and path not in text]
    assert missing == []
