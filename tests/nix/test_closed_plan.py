"""A plan is closed: what a command or an environment value mentions in the store is in the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nix.evaluation import evaluate, refusal

if TYPE_CHECKING:
    from pathlib import Path


def prepares_and_job(plan: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *prepares, job = plan["nodes"]
    return prepares, job


def test_a_derivation_in_a_command_becomes_a_prepare_that_the_job_waits_for() -> None:
    (dep,), job = prepares_and_job(
        evaluate('(job { command = "cat ${drv "dep"}/share/x"; }).plans.hello')
    )
    assert job["depends_on"] == [dep["id"]]
    assert job["execute"]["inputs"] == [{"node_id": dep["id"], "env": None, "guest_path": None}]
    assert job["execute"]["command"] == f"cat {dep['prepare']['out_path']}/share/x"


def test_a_mentioned_derivation_that_the_job_needs_is_no_second_input() -> None:
    (dep,), job = prepares_and_job(
        evaluate(
            '(target { prepare.dep.drv = drv "dep"; jobs.greet = { needs = [ "dep" ];'
            ' command = "cat ${drv "dep"} ${builtins.unsafeDiscardStringContext (drv "dep")}"; };'
            " }).plans.hello"
        )
    )
    assert job["execute"]["inputs"] == [
        {"node_id": dep["id"], "env": "PIKACI_INPUT_DEP", "guest_path": "/staged/dep"}
    ]


def test_a_mentioned_derivation_that_the_target_prepares_is_that_prepare() -> None:
    (dep,), job = prepares_and_job(
        evaluate(
            '(target { prepare.dep = { drv = drv "dep"; timeoutSecs = 7; };'
            ' jobs.greet.command = "cat ${drv "dep"}"; }).plans.hello'
        )
    )
    assert dep["prepare"]["timeout_secs"] == 7
    assert job["execute"]["inputs"] == [{"node_id": dep["id"], "env": None, "guest_path": None}]


def test_a_file_of_the_source_becomes_a_prepare_without_derivation(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("echo hi\n")
    (file,), job = prepares_and_job(
        evaluate(f'(job {{ command = "sh ${{{script}}}"; env.S = {script}; }}).plans.hello')
    )
    path = file["prepare"]["out_path"]
    assert file["prepare"]["drv_path"] is None
    assert file["prepare"]["installable"] == path
    assert file["id"] == "script-sh-" + path.removeprefix("/nix/store/")[:8]
    assert job["execute"]["command"] == f"sh {path}"
    assert job["execute"]["env"] == {"S": path}
    assert job["depends_on"] == [file["id"]]


def test_several_derivations_in_one_text_are_told_apart() -> None:
    two = (
        'derivation { name = "tool"; system = "x86_64-linux"; builder = "/bin/sh";'
        ' outputs = [ "out" "dev" ]; }'
    )
    plan = evaluate(
        f"let tool = {two}; in (job {{"
        ' command = "${tool.dev}-x ${tool}/bin/tool ${drv "tool-dev-2"}.txt ${drv "lib"}";'
        " }).plans.hello"
    )
    prepares, job = prepares_and_job(plan)
    paths = {
        (node["description"], node["prepare"]["output_name"]): node["prepare"]["out_path"]
        for node in prepares
    }
    assert sorted(paths) == [
        ("lib", "out"),
        ("tool", "out"),
        ("tool-dev", "dev"),
        ("tool-dev-2", "out"),
    ]
    assert job["execute"]["command"] == (
        f"{paths['tool-dev', 'dev']}-x {paths['tool', 'out']}/bin/tool"
        f" {paths['tool-dev-2', 'out']}.txt {paths['lib', 'out']}"
    )


def test_derivations_of_one_name_are_told_apart_as_prepares() -> None:
    other = 'derivation { name = "dep"; system = "x86_64-linux"; builder = "/bin/sh"; }'
    plan = evaluate(
        f'let a = drv "dep"; b = {other}; in (target {{ prepare = {{ a.drv = a; b.drv = b; }};'
        ' jobs.greet = { command = "cat ${a} ${b}"; needs = [ "a" "b" ]; }; }).plans.hello'
    )
    prepares, job = prepares_and_job(plan)
    assert len(prepares) == 2
    assert sorted(job["execute"]["command"].removeprefix("cat ").split()) == sorted(
        node["prepare"]["out_path"] for node in prepares
    )


def test_a_text_far_from_any_store_path_has_no_prepares() -> None:
    text = "ls /nix/store /nix/store/short-name {a,b} 'x' \\\\ $HOME"
    prepares, job = prepares_and_job(
        evaluate(f"(job {{ command = {nix_string(text)}; }}).plans.hello")
    )
    assert prepares == []
    assert job["execute"]["command"] == text


def nix_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace("$", "\\$").replace('"', '\\"') + '"'


def test_a_prepare_of_another_job_may_not_be_mentioned_without_context() -> None:
    sentence = refusal(
        'target { prepare.dep.drv = drv "dep";'
        ' jobs.greet.command = "cat ${builtins.unsafeDiscardStringContext (drv "dep")}"; }'
    )
    assert "found the literal path /nix/store/" in sentence


def test_a_text_with_the_sources_own_path_is_planned_read_only(tmp_path: Path) -> None:
    (tmp_path / "never-evaluated-before").write_text(str(tmp_path))
    expression = (
        f'(job {{ command = "cat ${{{tmp_path}/never-evaluated-before}} ${{drv "fresh"}}"; }})'
        ".plans.hello"
    )
    assert evaluate(expression, "--read-only") == evaluate(expression)
