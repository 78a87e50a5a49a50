"""The pages about CI servers: their configurations are valid, and their commands run.

`nix run .#pikaci` starts the pikaci of this checkout here: the real one needs nixpkgs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from e2e.project import REPOSITORY, Project, shim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGES = REPOSITORY / "docs" / "ci"
TARGETS = '  check = { trigger = "branch"; jobs.it.command = "test ! -e broken"; };'
LANES = '[[branch.lanes]]\nid = "check"\ntarget = "check"\n'


def block(page: str, language: str) -> str:
    """The one block of a page in a language."""
    (text,) = re.findall(
        rf"^```{language}\n(.*?)^```$", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL
    )
    return str(text)


def loaded(page: str) -> Any:  # noqa: ANN401 - YAML
    return YAML(typ="safe").load(block(page, "yaml"))


def of_actions(page: str) -> list[str]:
    return [step["run"] for step in loaded(page)["jobs"]["lanes"]["steps"] if "run" in step]


def of_gitlab(page: str) -> list[str]:
    job = loaded(page)["pikaci"]
    return [*job["script"], *job["after_script"]]


def of_woodpecker(page: str) -> list[str]:
    return list(loaded(page)["steps"][0]["commands"])


def of_jenkins(page: str) -> list[str]:
    return re.findall(r"^\s*sh '(.*)'$", block(page, "groovy"), re.MULTILINE)


def of_buildbot(page: str) -> list[str]:
    return re.findall(r'command="(.*)"', block(page, "python"))


def of_teamcity(page: str) -> list[str]:
    return re.findall(r"script `(.*?)`", (PAGES / page).read_text())


@pytest.mark.parametrize(
    ("page", "schema", "key"),
    [
        ("github.md", "vendor.github-workflows", "runs-on"),
        ("forgejo.md", "vendor.github-workflows", "runs-on"),
        ("gitlab.md", "vendor.gitlab-ci", "script"),
        ("woodpecker.md", "vendor.woodpecker-ci", "commands"),
    ],
)
def test_a_configuration_is_one_that_the_server_takes(
    tmp_path: Path, page: str, schema: str, key: str
) -> None:
    text = block(page, "yaml")
    (tmp_path / "right.yml").write_text(text)
    (tmp_path / "wrong.yml").write_text(text.replace(f"{key}:", f"{key}x:"))
    checker = Path(sys.executable).with_name("check-jsonschema")
    argv = [str(checker), "--builtin-schema", schema, "right.yml", "wrong.yml"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "right.yml" not in done.stdout
    assert "wrong.yml" in done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with a branch lane, `nix run .#pikaci` and `pikaci`."""
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    project.lanes(LANES)
    project.tree.commit()
    programs = project.state.with_name("programs")
    here = f'exec "{sys.executable}" -m pikaci "$@"'
    shim(programs, "pikaci", here)
    run_app = f'case "$1 $2" in "run .#pikaci") shift 3; {here};; esac; exec "$real" "$@"'
    return project.with_env(PATH=shim(programs, "nix", run_app))


def sh(project: Project, script: str, **environment: str) -> tuple[int, str]:
    """What a script exits with and prints, in the checkout of a server."""
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=project.root,
        env=project.env() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@contextmanager
def broken(project: Project) -> Iterator[None]:
    """The tree, with a file that has the job fail; what a command leaves in it is removed."""
    project.write("broken")
    try:
        yield
    finally:
        project.path("broken").unlink()


@pytest.mark.parametrize(
    ("page", "commands", "environment", "shows"),
    [
        ("github.md", of_actions, {"GITHUB_ACTIONS": "true", "BASE": "HEAD~1"}, "::error title="),
        ("forgejo.md", of_actions, {"GITEA_ACTIONS": "true", "BASE": "HEAD~1"}, "::error title="),
        (
            "gitlab.md",
            of_gitlab,
            {"GITLAB_CI": "true", "CI_COMMIT_BEFORE_SHA": "HEAD~1"},
            "exited with 1",
        ),
        ("woodpecker.md", of_woodpecker, {"CI": "woodpecker"}, "exited with 1"),
        ("jenkins.md", of_jenkins, {"JENKINS_URL": "http://localhost"}, "exited with 1"),
        ("buildbot.md", of_buildbot, {}, "exited with 1"),
        (
            "README.md",
            of_teamcity,
            {"TEAMCITY_VERSION": "2025.11"},
            "##teamcity[buildProblem ",
        ),
    ],
)
def test_the_command_of_a_page_gives_the_server_a_verdict(
    project: Project,
    page: str,
    commands: Callable[[str], list[str]],
    environment: dict[str, str],
    shows: str,
) -> None:
    command, *report = commands(page)
    code, text = sh(project, command, **environment)
    assert (code, shows in text) == (0, False), text
    with broken(project):
        code, text = sh(project, command, **environment)
        assert (code, shows in text) == (1, True), text
    for file in re.findall(r"--junit (\S+)", command):
        assert "exited with 1" in project.path(file).read_text()
    for last in report:
        assert sh(project, last, **environment)[0] == 0
        assert "exited with 1" in project.path("pikaci-report/index.html").read_text()


def test_without_a_commit_before_all_lanes_run(project: Project) -> None:
    zeros = {"GITLAB_CI": "true", "CI_COMMIT_BEFORE_SHA": "0" * 40}
    code, text = sh(project, of_gitlab("gitlab.md")[0], **zeros)
    assert code == 0, text
    assert "pikaci: --changed-since names no commit: any file may have changed\n" in text
    assert "1 of 1 lane selected" in text


def test_the_script_for_cron_tests_each_push_once(project: Project, tmp_path: Path) -> None:
    script = tmp_path / "test-main"
    text = block("cron.md", "bash").replace("/srv/ci", str(tmp_path))
    script.write_text(text)
    setup = block("cron.md", "sh").replace("/srv/ci", str(tmp_path))
    code, text = sh(project, setup.replace("https://git.example.org/project.git", "."))
    assert code == 0, text

    def test_main() -> tuple[int, str]:
        return sh(project, f"bash {script}")

    def push(file: str) -> None:
        project.write(file)
        project.tree.commit()

    assert test_main() == (0, "")
    push("good")
    assert test_main() == (0, "")
    push("broken")
    code, text = test_main()
    assert code == 1
    assert "exited with 1" in text
    assert test_main() == (0, "")


def test_the_crontab_has_a_command_in_each_line() -> None:
    for line in block("cron.md", "crontab").splitlines():
        variable = re.fullmatch(r"[A-Z]+=\S+", line)
        assert variable or re.fullmatch(r"(?:[-*/0-9,]+ +){5}\S.*", line), line


def test_each_page_is_in_the_table() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (PAGES / "README.md").read_text()))
    assert linked == {page.name for page in PAGES.iterdir()} - {"README.md"}
