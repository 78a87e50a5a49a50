"""What CI servers read, and that no line of a job is a command to one."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pikaci.render.ci.actions import Actions
from pikaci.render.ci.finding import Finding, Level
from pikaci.render.ci.formats import LogFormat, chosen
from pikaci.render.ci.gitlab import GitLab
from pikaci.render.ci.markup import Group, Markup
from pikaci.render.ci.teamcity import TeamCity
from pikaci.screen import shown

GROUP = Group("20260131T235959Z-0123abcd.unit", "output of job unit", 1000, 1003)
FINDINGS = [
    Finding(Level.ERROR, "100%\nnot, sure: it's [so] é😀", "a,b:c.py", 3, 5, title="check/unit"),
    Finding(Level.WARNING, "old", "d.py", 1),
    Finding(Level.ERROR, "exited with 1", title="job unit"),
]
SPACE = " \t\u00a0\u2003\u3000\u1680"
HOSTILE = [
    "::set-output name=a::b",
    "  ::add-mask::x",
    "\u3000\u00a0::stop-commands::token",
    "\x1b[31m::error::red",
    "::::group::x",
    "text ##[add-mask]x",
    "##[[##[group]y",
    "##[set-env name=A]b",
]
GOLDEN: dict[str, tuple[Markup, str]] = {
    "github": (
        Actions(),
        (
            "::group::output of job unit\n"
            "one\n"
            "\\::set-output name=a::b\n"
            "::endgroup::\n"
            "pikaci: job unit failed\n"
            "::error file=a%2Cb%3Ac.py,line=3,col=5,title=check/unit"
            "::100%25%0Anot, sure: it's [so] é😀\n"
            "::warning file=d.py,line=1::old\n"
            "::error title=job unit::exited with 1\n"
        ),
    ),
    "gitlab": (
        GitLab(),
        (
            "\x1b[0Ksection_start:1000:20260131T235959Z-0123abcd.unit[collapsed=true]\r"
            "\x1b[0Koutput of job unit\n"
            "one\n"
            "::set-output name=a::b\n"
            "\x1b[0Ksection_end:1003:20260131T235959Z-0123abcd.unit\r\x1b[0K\n"
            "pikaci: job unit failed\n"
        ),
    ),
    "teamcity": (
        TeamCity(),
        (
            "##teamcity[blockOpened name='output of job unit'"
            " flowId='20260131T235959Z-0123abcd.unit']\n"
            "##teamcity[message text='one' flowId='20260131T235959Z-0123abcd.unit']\n"
            "##teamcity[message text='::set-output name=a::b'"
            " flowId='20260131T235959Z-0123abcd.unit']\n"
            "##teamcity[blockClosed name='output of job unit'"
            " flowId='20260131T235959Z-0123abcd.unit']\n"
            "pikaci: job unit failed\n"
            "##teamcity[inspectionType id='pikaci-error' category='pikaci'"
            " name='Error' description='What jobs report as error']\n"
            "##teamcity[inspectionType id='pikaci-warning' category='pikaci'"
            " name='Warning' description='What jobs report as warning']\n"
            "##teamcity[inspection typeId='pikaci-error'"
            " message='100%|nnot, sure: it|'s |[so|] |0x00e9|0xd83d|0xde00'"
            " file='a,b:c.py' line='3' SEVERITY='ERROR']\n"
            "##teamcity[inspection typeId='pikaci-warning' message='old'"
            " file='d.py' line='1' SEVERITY='WARNING']\n"
            "##teamcity[buildProblem description='job unit: exited with 1']\n"
        ),
    ),
}


@pytest.mark.parametrize("server", GOLDEN)
def test_a_server_gets_groups_and_annotations_in_its_own_words(server: str) -> None:
    markup, golden = GOLDEN[server]
    text = markup.opening(GROUP)
    text += markup.inside(GROUP, "one") + markup.inside(GROUP, "::set-output name=a::b")
    text += markup.closing(GROUP) + markup.outside("pikaci: job unit failed")
    assert text + markup.annotations(FINDINGS) == golden


def is_command_of_github(line: str) -> bool:
    """As the runner of GitHub parses a line, for any name of a command."""
    trimmed = line.lstrip()
    new = trimmed.startswith("::") and "::" in trimmed[2:]
    return new or bool(re.search(r"##\[[^\]]*\]", line))


def is_command_of_gitea(line: str) -> bool:
    """As the runners of Gitea and Forgejo, and their pages, do."""
    return bool(re.match(r"::([^ :]+)( .*)?::(.*)$", line)) or line.startswith(("::", "##["))


def without_colours(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;:]*m", "", line)


LINES = st.text(alphabet=st.sampled_from(SPACE + "::::##[[]] =abgroup\x1b0m\r\x00\x85é"))


@given(LINES)
@pytest.mark.parametrize("place", ["inside", "outside"])
def test_no_line_is_a_command_to_actions(place: str, line: str) -> None:
    check_no_command(place, line)


@pytest.mark.parametrize("line", HOSTILE)
@pytest.mark.parametrize("place", ["inside", "outside"])
def test_no_known_trick_makes_a_command(place: str, line: str) -> None:
    assert is_command_of_github(without_colours(line))
    check_no_command(place, line)


def check_no_command(place: str, line: str) -> None:
    for colours in (True, False):
        text = shown(line, colours=colours)
        markup = Actions()
        out = markup.inside(GROUP, text) if place == "inside" else markup.outside(text)
        assert out.count("\n") == 1
        for seen in (out, without_colours(out)):
            assert not is_command_of_github(seen)
            assert not is_command_of_gitea(seen.removesuffix("\n"))
        assert out.replace("\\", "").removesuffix("\n") == text.replace("\\", "")


@given(LINES)
def test_an_annotation_is_one_command_whose_message_is_the_text(text: str) -> None:
    line = Actions().annotations([Finding(Level.ERROR, text, file=text or "a", line=1)])
    assert line.count("\n") == 1
    found = re.fullmatch(r"::error file=([^:,]*),line=1::([^\r\n]*)\n", line)
    assert found
    data = found[2].replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    assert data == text


@given(st.text(alphabet=st.sampled_from("##teamcity[ name='value']|\x1b[0K\n\u2028")))
@example("##teamcity[buildStop comment='x']")
@example("##teamcity[[##teamcity[setParameter name='a' value='b']")
def test_no_line_is_a_service_message(line: str) -> None:
    text = shown(line.replace("\n", " "))
    inside, outside = TeamCity().inside(GROUP, text), TeamCity().outside(text)
    assert "##teamcity[" not in outside
    assert inside.count("##teamcity[") == 1
    assert re.fullmatch(r"##teamcity\[message text='(?:[^|'\[\]]|\|.)*' flowId='[^']*'\]\n", inside)


@given(st.text(alphabet=st.sampled_from("section_start:1:a[collapsed=true]\r\x1b[0K\x9b\n")))
@example("\x1b[0Ksection_start:1:a\r\x1b[0Kb")
def test_no_line_begins_or_ends_a_section(line: str) -> None:
    text = shown(line.replace("\n", " "), colours=True)
    for out in (GitLab().inside(GROUP, text), GitLab().outside(text)):
        assert "\r" not in out
        assert "\x1b[0K" not in out


@pytest.mark.parametrize("markup", [Actions(), GitLab(), TeamCity()])
def test_a_carriage_return_makes_no_second_line(markup: Markup) -> None:
    for line in ("x\r::add-mask::y", "\r##teamcity\r[a]", "section_start:1:a\r\x1b[0K"):
        for text in (markup.inside(GROUP, line), markup.outside(line)):
            assert "\r" not in text
            assert not re.search(r"^::", text, re.MULTILINE)
    assert "##teamcity[a" not in TeamCity().outside("\r##teamcity\r[a]")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, LogFormat.PLAIN),
        ({"CI": "true"}, LogFormat.PLAIN),
        ({"GITHUB_ACTIONS": "true", "CI": "true"}, LogFormat.GITHUB),
        ({"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true"}, LogFormat.FORGEJO),
        (
            {"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true", "FORGEJO_ACTIONS": "true"},
            LogFormat.FORGEJO,
        ),
        ({"GITLAB_CI": "true"}, LogFormat.GITLAB),
        ({"GITLAB_CI": "false"}, LogFormat.PLAIN),
        ({"TEAMCITY_VERSION": "2025.11 (build 1)"}, LogFormat.TEAMCITY),
        ({"CI": "woodpecker"}, LogFormat.PLAIN),
        ({"JENKINS_URL": "x", "BUILDBOT": "1"}, LogFormat.PLAIN),
    ],
)
def test_a_server_is_recognised_by_what_it_sets(
    environment: dict[str, str], found: LogFormat
) -> None:
    assert chosen(LogFormat.AUTO, environment, is_terminal=False) is found
    assert chosen(LogFormat.AUTO, environment, is_terminal=True) is LogFormat.TTY
    assert chosen(LogFormat.PLAIN, environment, is_terminal=True) is LogFormat.PLAIN
