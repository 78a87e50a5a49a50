"""A run as CI servers show it: `--log-format`, forced and detected, and the step summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Done

TARGETS = r"""
  check = {
    prepare.dep.drv = build "dep" "echo building; echo > $out";
    jobs.warns = { needs = [ "dep" ]; command = "echo src/a.c:1: warning: 100% unused"; };
    jobs.unit = {
      needs = [ "warns" ];
      command = ''
        for i in $(seq 19); do echo "line $i"; done
        echo "::set-output name=a::b"
        echo "  ##[add-mask]x"
        printf '\033[0Ksection_end:1:unit\r\033[0Kend\n'
        echo "##teamcity[buildStop comment='x']"
        echo "$PWD/src/a.c:3:5: error: expected ;" >&2
        exit 1
      '';
    };
    jobs.lint = { needs = [ "unit" ]; command = "true"; };
  };
  broken = {
    prepare.dep.drv = build "broken" "echo no such luck; exit 1";
    jobs.it = { needs = [ "dep" ]; command = "true"; };
  };
  built = {
    prepare.dep.drv = build "built" "echo ::from-builder::; echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "true"; };
  };
  slow.jobs.it.command = "sleep 1; echo of-slow; sleep 1; echo of-slow";
  fast.jobs.it.command = "echo of-fast; sleep 1.5; echo of-fast";
  traced.jobs.it.command = builtins.trace "\n::add-mask::x\ny ##[add-mask]z" "true";
  thrown.jobs.it.command = throw "no\n::add-mask::x\ny ##[add-mask]z";
"""
ACTIONS = """\
pikaci: run RUN: check, snapshot TREE
pikaci: prepare dep ...
pikaci: prepare dep done
pikaci: job warns started
::group::output of job warns
src/a.c:1: warning: 100% unused
::endgroup::
pikaci: job warns passed in TIME (1 of 3)
pikaci: job unit started
::group::output of job unit
line 1
line 2
line 3
line 4
::endgroup::
TAIL
unit> ::set-output name=a::b
unit>   ##\\[add-mask]x
unit> end
unit> ##teamcity[buildStop comment='x']
unit> WORKSPACE/src/a.c:3:5: error: expected ;
pikaci: job unit failed: exited with 1 in TIME (2 of 3)
pikaci: job lint skipped: depends on unit, which failed (3 of 3)
END
::error file=src/a.c,line=3,col=5::expected ;
::warning file=src/a.c,line=1::100%25 unused
"""
GITLAB = """\
pikaci: run RUN: check, snapshot TREE
pikaci: prepare dep ...
pikaci: prepare dep done
pikaci: job warns started
\x1b[0Ksection_start:SECS:RUN.warns[collapsed=true]\r\x1b[0Koutput of job warns
src/a.c:1: warning: 100% unused
\x1b[0Ksection_end:SECS:RUN.warns\r\x1b[0K
pikaci: job warns passed in TIME (1 of 3)
pikaci: job unit started
\x1b[0Ksection_start:SECS:RUN.unit[collapsed=true]\r\x1b[0Koutput of job unit
line 1
line 2
line 3
line 4
\x1b[0Ksection_end:SECS:RUN.unit\r\x1b[0K
TAIL
unit> ::set-output name=a::b
unit>   ##[add-mask]x
unit> end
unit> ##teamcity[buildStop comment='x']
unit> WORKSPACE/src/a.c:3:5: error: expected ;
pikaci: job unit failed: exited with 1 in TIME (2 of 3)
pikaci: job lint skipped: depends on unit, which failed (3 of 3)
END
"""
TEAMCITY = """\
pikaci: run RUN: check, snapshot TREE
pikaci: prepare dep ...
pikaci: prepare dep done
pikaci: job warns started
##teamcity[blockOpened name='output of job warns' flowId='RUN.warns']
##teamcity[message text='src/a.c:1: warning: 100% unused' flowId='RUN.warns']
##teamcity[blockClosed name='output of job warns' flowId='RUN.warns']
pikaci: job warns passed in TIME (1 of 3)
pikaci: job unit started
##teamcity[blockOpened name='output of job unit' flowId='RUN.unit']
##teamcity[message text='line 1' flowId='RUN.unit']
##teamcity[message text='line 2' flowId='RUN.unit']
##teamcity[message text='line 3' flowId='RUN.unit']
##teamcity[message text='line 4' flowId='RUN.unit']
##teamcity[blockClosed name='output of job unit' flowId='RUN.unit']
TAIL
unit> ::set-output name=a::b
unit>   ##[add-mask]x
unit> end
unit> ##teamcity\\[buildStop comment='x']
unit> WORKSPACE/src/a.c:3:5: error: expected ;
pikaci: job unit failed: exited with 1 in TIME (2 of 3)
pikaci: job lint skipped: depends on unit, which failed (3 of 3)
END
##teamcity[inspectionType id='pikaci-error' category='pikaci' name='Error' \
description='What jobs report as error']
##teamcity[inspectionType id='pikaci-warning' category='pikaci' name='Warning' \
description='What jobs report as warning']
##teamcity[inspection typeId='pikaci-error' message='expected ;' file='src/a.c' line='3' \
SEVERITY='ERROR']
##teamcity[inspection typeId='pikaci-warning' message='100% unused' file='src/a.c' line='1' \
SEVERITY='WARNING']
"""
TAIL = "\n".join(f"unit> line {number}" for number in range(5, 20))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    project.write("src/a.c", "int a;\n")
    return project


def normal(project: Project, text: str) -> str:
    """What a run printed, without what differs from run to run."""
    run_dir = str(project.run_dir())
    for pattern, name in (
        (re.escape(f"{run_dir}/scratch/unit-1/workspace"), "WORKSPACE"),
        (re.escape(run_dir), "DIRECTORY"),
        (re.escape(project.run_dir().name), "RUN"),
        (r"(?<=snapshot )[0-9a-f]{12}", "TREE"),
        (r"(?<=section_start:)\d+|(?<=section_end:)\d+", "SECS"),
        (r"\d+ ms|\d+\.\d s", "TIME"),
        (r"(?m)^pikaci: failed \(test_failure\).*\n(?:pikaci: .*\n)*", "END\n"),
        (r"(?<=prepare dep )(?:passed in TIME|cached)", "done"),
        (r"(?<=run RUN) \(rerun of .*?\)", ""),
    ):
        text = re.sub(pattern, name, text)
    return text


@pytest.mark.parametrize(
    ("name", "sign", "golden"),
    [
        ("github", {"GITHUB_ACTIONS": "true"}, ACTIONS),
        ("forgejo", {"GITHUB_ACTIONS": "true", "FORGEJO_ACTIONS": "true"}, ACTIONS),
        ("gitlab", {"GITLAB_CI": "true"}, GITLAB),
        ("teamcity", {"TEAMCITY_VERSION": "2025.11"}, TEAMCITY),
    ],
)
def test_a_server_is_shown_a_run_in_its_own_format(
    project: Project, name: str, sign: dict[str, str], golden: str
) -> None:
    golden = golden.replace("TAIL", TAIL)
    forced = project.here("run", "check", "--log-format", name)
    assert forced.code == 1
    check(project, forced, name, golden)
    check(project, project.with_env(**sign).here("rerun"), name, golden)


def check(project: Project, done: Done, name: str, golden: str) -> None:
    read, other = (done.out, done.err) if name == "teamcity" else (done.err, done.out)
    assert normal(project, read) == golden
    assert other == ""


def test_the_output_of_jobs_that_run_side_by_side_does_not_mix(project: Project) -> None:
    err = project.here("run", "slow", "fast", "--log-format", "github").passed().err
    groups = re.findall(r"^::group::.*\n((?:of-.*\n)+)::endgroup::$", err, re.MULTILINE)
    assert groups == ["of-fast\n" * 2, "of-slow\n" * 2]


def test_print_logs_adds_a_group_for_what_builders_print(project: Project) -> None:
    err = project.here("run", "built", "-L", "--log-format", "github").passed().err
    shown = err.splitlines()
    begin = shown.index("::group::output of prepare dep")
    assert shown[begin + 1 : begin + 3] == ["\\::from-builder::", "::endgroup::"]


def test_a_prepare_that_fails_is_shown_and_annotated(project: Project) -> None:
    lines = project.here("run", "broken", "--log-format", "github").err.splitlines()
    assert "dep> no such luck" in lines
    assert any(line.startswith("::error title=job it::failed: prepare dep ") for line in lines)


@pytest.mark.parametrize("target", ["traced", "thrown"])
def test_an_evaluation_gives_no_commands_to_the_server(project: Project, target: str) -> None:
    err = project.with_env(GITHUB_ACTIONS="true").here("run", target).err
    assert "add-mask" in err
    assert not re.search(r"^\s*::add-mask|##\[", err, re.MULTILINE)


def test_plain_lines_can_be_forced_on_a_server(project: Project) -> None:
    server = project.with_env(GITHUB_ACTIONS="true")
    err = server.here("run", "check", "--log-format", "plain").err
    assert "::group::" not in err
    assert "unit> ::set-output name=a::b" in err
    assert "unit>   ##\\[add-mask]x" in err


def test_the_display_of_a_terminal_can_be_forced_off_one(project: Project) -> None:
    err = project.here("run", "fast", "--log-format", "tty").passed().err
    assert "\x1b[2K" in err


def test_stdout_has_only_data_where_that_is_asked_for(project: Project) -> None:
    server = project.with_env(TEAMCITY_VERSION="2025.11")
    done = server.here("run", "check", "--output", "jsonl")
    assert done.lines[-1]["event"] == "run_finished"
    assert "##teamcity[blockOpened" in done.err


def test_a_step_summary_is_added_to_the_file_that_the_server_names(
    project: Project, tmp_path: Path
) -> None:
    file = tmp_path / "summary.md"
    server = project.with_env(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(file))
    assert server.here("run", "check", "fast", "broken").code == 1
    text = file.read_text()
    assert text.startswith("### pikaci: 2 of 3 targets did not pass\n")
    assert "| `check` | **failed** (test_failure) | " in text
    assert "exited with 1" in text[: text.index("<pre>")]
    assert "::set-output name=a::b" in text
    assert "What prepare dep printed</summary>\n\n<pre>\nno such luck\n" in text
    server.here("run", "fast", "--log-format", "plain").passed()
    assert file.read_text() == text


def test_a_summary_that_cant_be_written_changes_nothing_else(
    project: Project, tmp_path: Path
) -> None:
    file = tmp_path / "missing" / "summary.md"
    done = project.with_env(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(file)).here(
        "run", "fast"
    )
    assert done.code == 0
    assert done.err.count("could not write the step summary") == 1
    assert done.err.splitlines()[-1] == (
        f"pikaci: could not write the step summary to {file}: No such file or directory"
    )
