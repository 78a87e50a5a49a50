"""`pikaci report`: one file that asks for nothing, of whatever there is of a run."""

from __future__ import annotations

import base64
import hashlib
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from e2e.project import Project

TARGETS = """
  ci = {
    description = "Builds <b>all</b>";
    prepare.greeting.drv = build "greeting" "echo building-it; echo > $out";
    jobs.lint.command = "printf '\\\\033[32mclean\\\\033[0m\\\\n'";
    jobs.unit = { needs = [ "greeting" ]; command = ''
      printf '</script><img src=x onerror=alert(1)>\\n'
      printf '<!-- \\033[31mFAILED\\033[0m \\042quoted\\042\\n'
      mkdir "$PIKACI_ARTIFACTS/a b"; echo kept >"$PIKACI_ARTIFACTS/a b/<i>.html"
      exit 3
    ''; };
    jobs.deploy = { needs = [ "unit" "lint" ]; command = "true"; };
  };
  flaky.jobs.it = {
    retries.test = 1;
    command = "echo try; exit 4";
  };
"""
WORDS = ("What failed", "Timeline", "Critical path", "Jobs", "Artifacts", "Plan", "reproduce")


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        """The texts of the style and of the script that a browser runs."""
        self.text = ""
        self.commands: list[str] = []
        """Those that are shown to reproduce the run."""
        self._inside, self._is_step = "", False
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_step = self._is_step or attrs == [("class", "steps")]
        is_data = ("type", "text/plain") in attrs
        self._inside = tag if tag in {"style", "script"} and not is_data else ""

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside] = self.raw.get(self._inside, "") + data
        else:
            self.text += data
            if self._is_step and self.tags[-1][0] == "pre" and data.strip():
                self.commands.append(data)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    assert project.here("run", "ci").code == 1
    return project


def report(project: Project, *args: str) -> Page:
    path = project.here("report", *args).passed().out.removesuffix("\n")
    return Page(Path(path))


def copied(project: Project, tmp_path: Path) -> Project:
    """The project with records of its own, to damage."""
    state = tmp_path / "state"
    shutil.copytree(project.state, state, symlinks=True)
    return Project(project.tree, state, project.token, project.system, None, project.environment)


def test_the_page_asks_for_nothing_and_runs_nothing_but_its_own_script(project: Project) -> None:
    page = report(project)
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for tag, attributes in page.tags:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base"}
        assert not [
            name for name in attributes if name.startswith("on") or name in {"src", "style"}
        ]
        assert (attributes.get("href") or "#").startswith("#")


def test_it_has_verdicts_causes_times_logs_artifacts_the_plan_and_commands(
    project: Project,
) -> None:
    page = report(project)
    places = [page.text.index(word) for word in WORDS]
    assert places == sorted(places)
    for said in (
        *("ci failed", "Builds <b>all</b>", "job unit exited with 3", "deploy was skipped"),
        *("</script><img src=x onerror=alert(1)>", 'FAILED "quoted"', "greeting> building-it"),
        *("a b/<i>.html", hashlib.sha256(b"kept\n").hexdigest()),
    ):
        assert said in page.text, said
    assert '<span class="f2">clean</span>' in page.source
    assert page.text.count("greeting> building-it") == 1
    assert len(page.source) < 60_000


def test_the_commands_that_it_shows_work(project: Project) -> None:
    commands = report(project).commands
    assert len(commands) == 5
    for command in commands:
        for each in command.split(" && "):
            words = shlex.split(each)
            if words[0] == "git":
                project.tree.git(*words[1:])
            else:
                assert project.here(*words[1:]).code == 1, command
    project.here("report", project.run_ids()[0]).passed()


def test_changes_that_no_commit_has_are_got_from_the_snapshot(project: Project) -> None:
    project.write("new", "1")
    project.here("run", "flaky")
    (project.root / "new").unlink()
    page = report(project)
    assert "and changes" in page.text
    assert ("attempt 1 of 2" in page.text, "2 attempts" in page.text) == (True, True)
    assert any("archive" in command for command in page.commands)


def test_artifacts_are_copied_beside_a_page_that_has_a_directory(
    project: Project, tmp_path: Path
) -> None:
    place = tmp_path / "public"
    run = project.run_ids()[0]
    for _ in range(2):
        page = report(project, run, "--output", str(place))
        assert (place / "artifacts/unit/a b/<i>.html").read_text() == "kept\n"
    links = [attributes for tag, attributes in page.tags if tag == "a" and "download" in attributes]
    assert [each["href"] for each in links] == ["artifacts/unit/a%20b/%3Ci%3E.html"]
    (place / "index.html").write_text("mine")
    assert "is not of this command" in project.here("report", run, "-o", str(place)).refused()
    assert (place / "index.html").read_text() == "mine"
    wrong = project.here("report", run, "-o", str(place / "index.html")).refused(75)
    assert "can't be written" in wrong


def test_of_artifacts_nothing_outside_their_directory_is_copied(
    project: Project, tmp_path: Path
) -> None:
    project = copied(project, tmp_path)
    run = project.run_ids()[0]
    record = project.run_dir(run) / "run.json"
    files = project.run_dir(run) / "jobs/unit/attempts/1/artifacts/files"
    (tmp_path / "secret").write_text("secret")
    (files / "a b/<i>.html").unlink()
    (files / "a b/<i>.html").symlink_to(tmp_path / "secret")
    place = str(tmp_path / "public")
    assert "was not copied" in report(project, run, "-o", place).text
    record.write_text(record.read_text().replace("a b/<i>.html", "../../../../../secret"))
    assert "its path leaves" in report(project, run, "-o", place).text
    assert "secret" not in [path.name for path in Path(place).rglob("*")]


def test_a_batch_is_one_page(project: Project) -> None:
    assert project.here("run", "ci", "flaky").code == 1
    page = report(project)
    assert "2 runs" in page.text
    assert page.text.count("What failed") == 2


def test_of_a_damaged_run_there_is_what_can_be_read(project: Project, tmp_path: Path) -> None:
    project = copied(project, tmp_path)
    run = project.run_ids()[0]
    directory = project.run_dir(run)
    (directory / "prepared-outputs.json").write_text("[]")
    page = report(project, run)
    assert "Not readable: " in page.text
    (directory / "plan.json").write_text('{"nodes": "<b>"}')
    page = report(project, run)
    assert "is not a plan" in page.text
    assert "job unit exited with 3" in page.text
    (directory / "run.json").write_text("{")
    page = report(project, run)
    assert "The record can't be read" in page.text
    assert 'FAILED "quoted"' in page.text
    shutil.rmtree(directory / "jobs")
    assert "nothing of run" in project.here("report", run).refused()
