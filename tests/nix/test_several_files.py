"""Targets spread over several files: one set in the end, in which no id comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nix.evaluation import evaluate, refusal

if TYPE_CHECKING:
    from pathlib import Path

HELLO = '{ hello.jobs.greet.command = "true"; }\n'
OTHER = '{\n  other.jobs.greet.command = "true";\n  hello.jobs.greet.command = "false";\n}\n'


def ids(targets: str) -> list[str]:
    found: list[str] = evaluate(
        f"map (it: it.id) (mk {{ targets = system: {targets}; }}).catalog.targets"
    )
    return found


def test_sets_functions_and_files_make_one_catalog(tmp_path: Path) -> None:
    (tmp_path / "plain.nix").write_text(HELLO)
    (tmp_path / "function.nix").write_text(
        'system: { ${"for-" + system}.jobs.greet.command = "true"; }\n'
    )
    files = f"{tmp_path}/plain.nix {tmp_path}/function.nix"
    function = '(system: { b.jobs.greet.command = "true"; })'
    last = '{ last.jobs.greet.command = "true"; }'
    assert ids(f"[ {files} {function} {last} ]") == ["b", "for-x86_64-linux", "hello", "last"]
    assert ids("[ ]") == []


def test_an_id_in_two_files_is_refused_by_both_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.nix").write_text(HELLO)
    (tmp_path / "b.nix").write_text(OTHER)
    expected = (
        "pikaci: targets.hello: expected an id that only one set of targets has,"
        f" found it at {tmp_path}/a.nix:1 and at {tmp_path}/b.nix:3"
    )
    files = f"[ {tmp_path}/a.nix {tmp_path}/b.nix ]"
    imported = f"[ (import {tmp_path}/a.nix) (import {tmp_path}/b.nix) ]"
    assert refusal(f"mk {{ targets = _: {files}; }}") == expected
    assert refusal(f"catalog (lib.mergeTargets {imported})") == expected
