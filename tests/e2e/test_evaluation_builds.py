"""Builds that an evaluation needs: how they are shown, and how the evaluation ends by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, wait_for
from privilege import only_root_can

if TYPE_CHECKING:
    from pathlib import Path

ABOVE = """
  above.jobs.it.command =
    builtins.readFile (build "above" "cat ${build "inner" "echo first; echo second; exit 3"}");
"""


def test_a_failing_dependency_of_what_an_evaluation_reads_shows_its_builder(
    project: Project, builders: dict[str, str]
) -> None:
    project = project.with_env(**builders)
    project.define(ABOVE)
    done = project.here("run", "above")
    assert done.code == 2
    building, *lines, sentence = done.err.splitlines()
    assert "building inner, which the evaluation needs" in building
    assert lines == ["inner> first", "inner> second"]
    assert "the flake does not evaluate" in sentence
    assert "-inner.drv'" in sentence
    assert "failed with exit code 3" in sentence


def test_what_nix_says_in_the_place_of_a_builder_is_in_the_reason(project: Project) -> None:
    project.define("""
      absent.jobs.it.command = builtins.readFile (derivation {
        inherit system; name = "absent-@token@"; builder = "/nonexistent/sh";
      });
    """)
    done = project.here("run", "absent")
    assert done.code == 2
    said = "failed with exit code 1: executing '/nonexistent/sh': No such file or directory"
    assert said in done.err.splitlines()[-1]


IMAGE = """images.slow = {
  alias = "x"; instanceType = "container";
  package = system: derivation {
    name = "@token@"; inherit system; builder = "/bin/sh"; args = [ "-c" "@script@" ];
    @more@
  };
};
targets = import"""


def image(project: Project, script: str, more: str = "") -> None:
    text = IMAGE.replace("@token@", project.token).replace("@script@", script)
    text = text.replace("@more@", more)
    flake = (project.root / "flake.nix").read_text()
    project.write("flake.nix", flake.replace("targets = import", text, 1))


HERE = [
    # what a build needs that this machine has not, or may not; what to do
    (
        'requiredSystemFeatures = [ "abacus" ];',
        (),
        "(`extra-platforms` or `extra-system-features`)",
    ),
    ("", ("--option", "max-jobs", "0"), "`--option max-jobs N`"),
]


@pytest.mark.parametrize(("more", "flags", "hint"), HERE)
def test_what_can_not_be_built_here_is_the_machines_and_how_it_could_is_said(
    project: Project, more: str, flags: tuple[str, ...], hint: str
) -> None:
    made = f'(derivation {{ name = "@token@"; inherit system; builder = "/bin/sh"; {more} }})'
    project.define(f"""
      read.jobs.it.command = builtins.readFile ({made});
      made.prepare.made.drv = {made};
      made.jobs.it = {{ needs = [ "made" ]; command = "true"; }};
    """)
    image(project, "exit 1", more)
    for command in (("run", "read"), ("run", "made"), ("image", "build", "slow")):
        done = project.here(*command, *flags)
        assert done.code == 75, command
        assert hint in done.err, command


def test_a_long_line_of_a_build_of_an_evaluation_is_cut_and_says_so(project: Project) -> None:
    script = "echo before; head -c 3000000 /dev/zero | tr '\\\\0' x; echo; echo after; exit 1"
    project.define(f'  long.jobs.it.command = builtins.readFile (build "long" "{script}");')
    done = project.here("run", "long")
    assert done.code == 2
    _building, before, cut, after, _sentence = done.err.splitlines()
    assert (before, after) == ("long> before", "long> after")
    assert len(cut) < 100_000
    assert cut.startswith("long> xxx")
    assert cut.endswith("x ... [cut: this line has 3000000 bytes]")


def test_print_logs_shows_each_line_of_a_build_of_an_evaluation_as_it_comes(
    project: Project, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"echo first; until [ -e {go} ]; do sleep 0.05; done; echo second; exit 3"
    project.define(f'  slow.jobs.it.command = builtins.readFile (build "slow" "{script}");')
    err = tmp_path / "err"
    with err.open("wb") as file:
        running = project.start("run", "slow", "-L", stderr=file)
        wait_for(lambda: "slow> first" in err.read_text())
        go.touch()
        assert finish(running).code == 2
    _building, *lines, _sentence = err.read_text().splitlines()
    assert lines == ["slow> first", "slow> second"]
    project.define(
        '  fine.jobs.it.command = builtins.readFile (build "fine" "echo on; echo > $out");'
    )
    assert "fine> on" in project.here("run", "fine", "-L").passed().err.splitlines()


LIMITS = [
    # the limit, its value, a script that it ends
    ("timeout", "2", "while :; do echo on; sleep 0.1; done"),
    ("max-silent-time", "2", "echo quiet; sleep 600"),
    ("max-build-log-size", "20000", "while :; do echo more and more; done"),
]


@pytest.mark.parametrize("where", ["above", "itself"])
@pytest.mark.parametrize(("limit", "value", "script"), LIMITS)
def test_a_limit_of_nix_that_ends_a_build_of_an_evaluation_is_a_timeout_and_is_named(
    project: Project, limit: str, value: str, script: str, where: str
) -> None:
    if limit == "max-build-log-size":
        only_root_can("set this in a Nix daemon")
    slow = f'build "slow" "{script}"'
    read = slow if where == "itself" else f'build "above" "cat ${{{slow}}}"'
    project.define(f"  slow.jobs.it.command = builtins.readFile ({read});")
    done = project.here("run", "slow", "--option", limit, value)
    assert done.code == 124
    sentence = done.err.splitlines()[-1]
    what = f"slow, which the evaluation needs, was ended by Nix's limit `{limit}` of {value} "
    assert what in sentence
    assert f"`--option {limit} N` sets another one" in sentence


def test_a_limit_of_nix_that_ends_the_build_of_an_image_is_a_timeout(project: Project) -> None:
    image(project, "while :; do :; done")
    done = project.here("image", "build", "slow", "--option", "timeout", "1")
    assert done.code == 124
    said = "pikaci: image slow was ended by Nix's limit `timeout` of 1 s; `--option timeout N`"
    assert said in done.err.splitlines()[-1]
