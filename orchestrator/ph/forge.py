"""Finding on the server what a command is about: a repository, a branch, a run, a lane.

Answers are JSON objects, read as they come: a field that a server does not send is None.
"""

from __future__ import annotations

from typing import Any

from ph import checkout
from ph.errors import UsageError
from ph.server import Server, segment

Json = dict[str, Any]
HEADS = "refs/heads/"
OVER = ("success", "failed", "skipped", "cancelled")
"""States in which a run or a lane has ended."""
GREEN = ("success", "skipped")


def rows(answer: Any, name: str) -> list[Json]:  # noqa: ANN401 - JSON
    """The list in an answer: the answer itself, or what it has under this name."""
    found = answer.get(name) if isinstance(answer, dict) else answer
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def find_repo(server: Server, name: str | None) -> Json:
    """The repository of this name, or the one that this checkout is pushed to, or the only one."""
    known = rows(server.get("repos"), "repos")
    if name is not None:
        return _the(f"repository {name}", [repo for repo in known if repo.get("name") == name])
    for url in checkout.remote_urls():
        path = checkout.path_of(url)
        found = [repo for repo in known if _is_path(repo, path)]
        found = found or [repo for repo in known if repo.get("name") == checkout.base_name(path)]
        if len(found) == 1:
            return found[0]
    if len(known) == 1:
        return known[0]
    names = ", ".join(str(repo.get("name")) for repo in known) or "none"
    raise UsageError(
        "which repository is meant can't be seen here", f"give --repo; the server has {names}"
    )


def find_branch(server: Server, branch: str | None, repo: str | None) -> Json:
    """A branch with its newest run: `line`, `run`, `runs`."""
    name = branch or checkout.current_branch()
    found = find_repo(server, repo)
    detail = look_for_branch(server, found, name)
    if detail is None:
        raise UsageError(f"the server has no branch {name} of {found.get('name')}", "push it")
    return detail


def look_for_branch(server: Server, repo: Json, name: str) -> Json | None:
    """A branch of a repository with its newest run, if the server has seen it."""
    ref = name if name.startswith("refs/") else HEADS + name
    found = rows(server.get("branches", repo=repo.get("name"), ref=ref), "branches")
    if not found:
        return None
    detail: Json = server.get(f"branches/{segment(found[0].get('id'))}")
    return detail


def find_lane(server: Server, lane: str, branch: str | None, repo: str | None) -> tuple[Json, Json]:
    """A run and a lane of it: by the lane's number, or by its name in a branch's newest run."""
    if lane.isdigit():
        return _run_and_lane(server, lane)
    run = find_branch(server, branch, repo).get("run")
    if not run:
        raise UsageError("the branch has no run", "push to it, or `ph run`")
    named = [each for each in rows(run, "lanes") if each.get("name") == lane]
    if not named:
        names = ", ".join(str(each.get("name")) for each in rows(run, "lanes")) or "none"
        hint = f"it has {names}; an older run's lane is named by its number"
        raise UsageError(f"run {run['line'].get('id')} has no lane {lane}", hint)
    return _run_and_lane(server, named[0].get("id"))


def find_run(server: Server, run: int | None, branch: str | None, repo: str | None) -> Json:
    """A run by its number, or a branch's newest."""
    if run is not None:
        found: Json = server.get(f"runs/{run}")
        return found
    newest: Json | None = find_branch(server, branch, repo).get("run")
    if not newest:
        raise UsageError("the branch has no run", "push to it, or `ph run`")
    return newest


def _run_and_lane(server: Server, lane: object) -> tuple[Json, Json]:
    answer = server.get(f"lanes/{segment(lane)}")
    return answer["run"], {**answer["lane"], "tests": rows(answer, "tests")}


def _is_path(repo: Json, path: str) -> bool:
    return str(repo.get("path")).rstrip("/") == path.rstrip("/")


def _the(what: str, found: list[Json]) -> Json:
    if not found:
        raise UsageError(f"the server has no {what}")
    return found[0]
