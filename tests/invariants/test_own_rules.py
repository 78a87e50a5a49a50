"""Each of this project's rules, broken on a copy of the tree, is seen where it was broken."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from invariants.checkout import ROOT, RULES, Checkout, linked_copy

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = "orchestrator/jerichoci/state/clock.py"
FRONTEND = "orchestrator/pikaci/screen.py"
FORGE = "orchestrator/pika_git/cli.py"
PERSISTENCE = "orchestrator/pika_git/persistence/schema.py"
WEB = "orchestrator/pika_git/web/broken.py"
WORKER = "orchestrator/pika_git/worker/broken.py"
LIBRARY = "nix/lib/place.nix"
PLAN = "orchestrator/jerichoci/plan/plan.py"
FAKE_TOKEN = "gh" + "p_" + "0a1B" * 9


@dataclass(frozen=True)
class Break:
    """`new` in place of `old` in a file, or at its end, breaks a rule at the line of `at`."""

    rule: str
    file: str
    new: str
    at: str
    old: str = ""


BREAKS = [
    Break("engine-stands-alone", ENGINE, "\nfrom pikaci.lanes import load_lanes\n", "pikaci.lanes"),
    Break("engine-stands-alone", ENGINE, "\ndef f():\n    import click\n", "import click"),
    Break("engine-stands-alone", ENGINE, "\nimport_module('pika_git.queue')\n", "pika_git"),
    Break("engine-stands-alone", ENGINE, "\nfrom ph import main\n", "from ph"),
    Break("arrows", ENGINE, "\nfrom jerichoci.machine import slots\n", "machine import"),
    Break("arrows", ENGINE, "\nif TYPE_CHECKING:\n    import jerichoci.plan.plan\n", "plan.plan"),
    Break("frontend-without-forge", FRONTEND, "\nimport pika_git.queue\n", "pika_git"),
    Break("forge-reads-records", FORGE, "\nfrom jerichoci.run.engine import run_plan\n", "engine"),
    Break("forge-reads-records", FORGE, "\nfrom jerichoci import status\n", "import status"),
    Break("operator-cli-speaks-http", "orchestrator/ph/one.py", "import jerichoci\n", "jerichoci"),
    Break("operator-cli-speaks-http", "orchestrator/ph/two.py", "import pydantic\n", "pydantic"),
    Break("forge-layers", PERSISTENCE, "\nfrom pika_git import cli\n", "import cli"),
    Break("web-asks-the-service", WEB, "from pika_git.forge_runtime import loop\n", "loop"),
    Break("worker-is-a-process-of-its-own", WORKER, "import fastapi\n", "fastapi"),
    Break("sql-in-persistence", FORGE, "\nfrom sqlalchemy import text\n", "sqlalchemy"),
    Break("sql-text-in-persistence", WEB, 'READ = "SELECT id FROM lane"\n', "SELECT"),
    Break(
        "forge-decides-nothing-by-ids",
        FORGE,
        '\ndef f(lane):\n    return lane.name.startswith("check-")\n',
        "startswith",
    ),
    Break(
        "verdict-is-the-records",
        WORKER,
        '\ndef f(line):\n    state = "failed" if "refused" in line else "success"\n',
        "state =",
    ),
    Break("logs-are-shown-only", WORKER, "\nchunk = store.load_logs(run_id)\n", "load_logs"),
    Break("git-of-the-forge", FORGE, '\nGIT = ["git", "push"]\n', "GIT ="),
    Break("forge-runs-pikaci", FORGE, '\nPIKACI = ["pikaci", "run"]\n', "PIKACI ="),
    Break("engine-knows-no-targets", ENGINE, '\nSLOW = "check-orchestrator"\n', "SLOW"),
    Break("engine-knows-no-targets", ENGINE, '\nif name == "hello":\n    pass\n', "hello"),
    Break("engine-knows-no-targets", LIBRARY, 'slow = "check-nix";\nin\n{', "slow", "in\n{"),
    Break("path-filters-in-one-file", "pyproject.toml", '\n[tool.x]\npaths = ["a"]\n', "paths = "),
    Break("no-glob-tables", FRONTEND, '\nRUST = ("rust/**", "*.toml")\n', "RUST"),
    Break(
        "no-glob-tables",
        "nix/ci/hello.nix",
        'paths = [ "nix/**" ];\n  title = "hello";',
        "nix/**",
        'title = "hello";',
    ),
    Break(
        "ci-entry-runs-make-test", ".ci/run", "exec make test && pytest", "pytest", "exec make test"
    ),
    Break("make-test-runs-lanes", "Makefile", "\t@pytest", "", "\t@ci/bootstrap/test.sh"),
    Break("lanes-run-by-pikaci", "ci/bootstrap/test.sh", "\npytest tests\n", "pytest tests"),
    Break(
        "every-branch-lane-is-run", "ci/bootstrap/test.sh", "lanes=(none) # (", "lanes=(", "lanes=("
    ),
    Break("library-without-nixpkgs", LIBRARY, "x = import <nixpkgs> { };\nin\n{", "<nix", "in\n{"),
    Break("library-without-nixpkgs", LIBRARY, "x = lib.concat;\nin\n{", "lib.concat", "in\n{"),
    Break(
        "nothing-decided-by-ids",
        FRONTEND,
        '\ndef f(job):\n    return job.job_id.startswith("apple-")\n',
        "startswith",
    ),
    Break("nothing-decided-by-ids", ENGINE, '\nVM = "xcodebuild" in execute.command\n', "VM ="),
    Break(
        "kinds-are-not-derived",
        ENGINE,
        '\nif node.placement == "remote_ssh":\n    runtime = "incus"\n',
        'runtime = "incus"',
    ),
    Break(
        "kinds-are-not-derived",
        FRONTEND,
        '\nnode.with_(placement="local" if node.runtime else "remote_ssh")\n',
        "placement=",
    ),
    Break(
        "engine-is-blind-to-kinds", ENGINE, '\nBOOT = node.runtime in ("incus", "tart")\n', "BOOT"
    ),
    Break("library-derives-no-kind", LIBRARY, "x = builtins.match;\nin\n{", "x =", "in\n{"),
    Break(
        "node-has-no-knobs",
        PLAN,
        'runtime: str = "host_process"\n    guest_role: str = ""',
        "guest_role",
        'runtime: str = "host_process"',
    ),
    Break(
        "job-has-no-knobs",
        PLAN,
        "run_as_root: bool = False\n    boot_secs: int = 1",
        "boot_secs",
        "run_as_root: bool = False",
    ),
    Break(
        "records-name-no-backend",
        "orchestrator/jerichoci/record/record.py",
        "host: str | None = None\n    ssh_port: int = 22",
        "ssh_port",
        "host: str | None = None",
    ),
    Break("records-are-the-engines", FRONTEND, "\nclass JobRecord:\n    id: str\n", "class JobR"),
    Break(
        "failure-kind-is-structured",
        ENGINE,
        '\nif "refused" in done.stderr:\n    failure_kind = FailureKind.INFRASTRUCTURE\n',
        "failure_kind",
    ),
    Break("nix-argvs-in-one-file", FRONTEND, '\nNIX = ["nix", "build"]\n', "NIX ="),
    Break("git-argvs-in-one-file", FRONTEND, '\nGIT = ("git", "push")\n', "GIT ="),
    Break("names-say-what-is-in-it", "orchestrator/pikaci/utils.py", "X = 1\n", "X"),
    Break("no-secrets", "docs/records.md", f"\nFor example {FAKE_TOKEN}.\n", FAKE_TOKEN),
]


RULE_TABLES = {
    rule["id"]: rule
    for rule in tomllib.loads((ROOT / RULES).read_text())["invariant"]
    if rule["kind"] == "must"
}


@pytest.fixture(scope="module")
def broken(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of this checkout in which each rule is broken."""
    tree = linked_copy(pristine, tmp_path_factory.mktemp("broken") / "tree")
    for each in BREAKS:
        if each.old:
            tree.replace(each.file, each.old, each.new)
        else:
            tree.append(each.file, each.new)
    return tree


@pytest.fixture(scope="module")
def said(broken: Checkout) -> str:
    """What the checker prints of it."""
    done = broken.check()
    assert done.returncode == 1
    return done.stdout


def test_every_rule_is_broken_here_once() -> None:
    assert {*RULE_TABLES} == {it.rule for it in BREAKS}


@pytest.mark.parametrize("it", BREAKS, ids=lambda it: f"{it.rule}-{it.at[:12].strip()}")
def test_a_broken_rule_is_seen_where_it_is_broken(broken: Checkout, said: str, it: Break) -> None:
    line = broken.line_of(it.file, it.at) if it.at else 1
    where, rule = f"{it.file}:{line}: {it.rule}: ", RULE_TABLES[it.rule]
    rows = [row for row in said.splitlines() if row.startswith(where)]
    assert rows, said
    assert rows[0].endswith(f". {rule['statement']} Hint: {rule['hint']}")


def test_an_exception_without_a_case_is_an_error(own: Checkout) -> None:
    own.remove("ci/bootstrap/common.sh")
    where = own.line_of(RULES, 'id = "bootstrap-preamble"') - 1
    assert own.found("bootstrap-preamble") == [
        (RULES, where, "nothing in its scope breaks names-say-what-is-in-it any more"),
    ]
