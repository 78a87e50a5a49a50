from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from starlette.routing import Mount, Route

from pika_git.data import DataDir
from pika_git.forge_service.forge import Forge
from pika_git.persistence.auth import ROLES, Role
from pika_git.persistence.migrate import open_current
from pika_git.settings import Settings
from pika_git.web.app import create
from pika_git.web.routes import RoleRoute, Routes
from served import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge_scenes import Scene
    from pika_git.web.app import App

CALLERS = [(None, "nothing"), *((role, by) for role in ROLES for by in ("token", "session"))]


def routes(app: App) -> list[tuple[str, str, Role]]:
    """Method, path and role of each; the one that ends the session comes last."""
    found = [
        (method, re.sub(r"{\w+}", "987", route.path), route.role)
        for route in app.routes
        if isinstance(route, RoleRoute)
        for method in sorted(route.methods or ())
    ]
    return sorted(found, key=lambda each: each[1] == "/logout")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A forge without rows, which callers may share: no request finds what it asks for."""
    data = DataDir(tmp_path_factory.mktemp("roles") / "forge").make()
    with serving(Forge(open_current(data), data)) as found:
        yield found


@pytest.mark.parametrize(("role", "by"), CALLERS)
def test_each_route_is_for_callers_with_its_role(empty: Served, role: str | None, by: str) -> None:
    caller = empty.caller(role, by)
    found = routes(empty.app)
    assert len(found) > 10
    for method, path, needed in found:
        answer = caller.send(method, path, json={})
        if role is None and needed > Role.PUBLIC:
            assert answer.status_code == 401, (method, path)
        elif role is not None and ROLES[role] < needed:
            assert answer.status_code == 403, (method, path)
        else:
            assert answer.status_code not in {401, 403, 500}, (method, path, answer.text)


def test_an_app_does_not_take_a_route_without_a_role(forge: Forge) -> None:
    async def page() -> None: ...

    with pytest.raises(TypeError, match="has no role"):
        create(forge, [Route("/x", page)])
    with pytest.raises(TypeError, match="has no role"):
        create(forge, [Mount("/files", routes=[])])
    with pytest.raises(TypeError, match="role"):
        Routes().get("/x")  # type: ignore[call-arg]


def test_reading_needs_no_token_where_it_is_public(forge: Forge) -> None:
    with serving(replace(forge, settings=Settings(public_read=True))) as served:
        anyone = served.caller()
        assert anyone.get("/api/v1/whoami").json() == {"name": "anonymous", "role": "read"}
        assert anyone.post("/api/v1/queue/pause", why="x").status_code == 401
        wrong = served.with_token("ph_wrong")
        assert wrong.get("/api/v1/whoami").status_code == 401


def test_paths_and_words_of_the_server_are_for_callers_with_a_token(
    forge: Forge, scene: Scene
) -> None:
    repo = scene.repo()
    with serving(replace(forge, settings=Settings(public_read=True))) as served:
        for path in ("/api/v1/repos", f"/api/v1/repos/{repo}"):
            known, anyone = (served.caller(role).get(path).json() for role in ("read", None))
            (known, anyone) = (x[0] if isinstance(x, list) else x for x in (known, anyone))
            assert known["path"].startswith("/")
            assert known["error"].endswith("is no bare git repository")
            assert anyone == known | {"path": "", "error": ""}
        assert served.caller().get("/api/v1/audit").status_code == 401


def test_a_token_is_shown_once_and_kept_as_its_digest(served: Served) -> None:
    admin = served.caller("admin")
    made = admin.post("/api/v1/tokens", name="ben", role="write")
    assert (made.status_code, made.json()["role"]) == (201, "write")
    secret = made.json()["secret"]
    assert re.fullmatch(r"ph_[\w-]{43}", secret)
    ben = served.with_token(secret)
    assert ben.get("/api/v1/whoami").json() == {"name": "ben", "role": "write"}
    listed = admin.get("/api/v1/tokens").text
    assert "ben" in listed
    assert secret not in listed
    kept = b"".join(path.read_bytes() for path in served.forge.data.root.glob("forge.db*"))
    assert secret[3:].encode() not in kept


def test_a_token_that_is_revoked_ends_at_once_with_its_sessions(served: Served) -> None:
    admin = served.caller("admin")
    number, secret = served.token("write")
    browser = served.caller()
    login = browser.send("POST", "/login", data={"token": secret}, headers={"Origin": served.url})
    assert login.status_code == 303
    browser.headers["Cookie"] = login.headers["set-cookie"].partition(";")[0]
    token = served.with_token(secret)
    assert [each.get("/api/v1/whoami").status_code for each in (browser, token)] == [200, 200]
    assert admin.send("DELETE", f"/api/v1/tokens/{number}").status_code == 200
    assert [each.get("/api/v1/whoami").status_code for each in (browser, token)] == [401, 401]
    assert admin.send("DELETE", f"/api/v1/tokens/{number}").status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Basic eDp5", "Bearer x", "Bearer ph_", "ph_x"])
def test_what_is_no_token_is_refused(served: Served, header: str) -> None:
    answer = served.with_headers({"Authorization": header}).get("/api/v1/whoami")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "unauthenticated"
