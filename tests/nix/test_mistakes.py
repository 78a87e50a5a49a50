"""Every mistake in a catalog ends in one sentence: where, what was expected, what was found."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from nix.evaluation import (
    PRELUDE,
    ROOT,
    error_message,
    eval_catalog,
    messages,
    refusal,
    run_nix,
)

MISTAKES = tomllib.loads((Path(__file__).parent / "mistakes.toml").read_text())
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    f"{name} {value}".removesuffix(" @"): (mistake, value, found)
    for name, mistake in MISTAKES.items()
    for value, found in mistake.get("each", [("@", "@")])
}
LANES = """
version = 1
nightly_schedule_utc = "03:00"
[[branch.lanes]]
id = "hello"
title = "Hello"
target = "hello"
[[nightly.lanes]]
id = "night"
title = "Night"
target = "night"
"""
WITH_LANES = """mk {
  lanes = ./lanes.toml;
  targets = _: {
    hello = { trigger = "branch"; jobs.greet.command = "true"; };
    night = { trigger = "nightly"; jobs.greet.command = "true"; };
    by-hand.jobs.greet.command = "true";
  };
}"""
TIMEOUT_MISTAKE = 'job { timeoutSecs = "abc"; }'
TIMEOUT_SENTENCE = (
    "pikaci: targets.hello.jobs.greet.timeoutSecs: expected a positive integer,"
    ' found the string "abc"'
)


@pytest.fixture(scope="module")
def thrown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The last sentence that the library throws for each mistake.

    One evaluation has them all: it catches what is thrown, which a copy of the library traces.
    """
    root = tmp_path_factory.mktemp("mistakes")
    library = Path(shutil.copytree(ROOT / "nix/lib", root / "lib"))
    plain = (library / "fault.nix").read_text()
    traced = plain.replace(' throw "', ' (said: builtins.trace said (throw said)) "')
    (library / "fault.nix").write_text(traced)
    expression = PRELUDE.replace(f"{ROOT}/nix/lib", str(library)) + "["
    for number, (name, (mistake, value, _)) in enumerate(CASES.items()):
        lanes = root / f"lanes-{number}.toml"
        old, new = mistake.get("change", ("", ""))
        assert old in LANES
        lanes.write_text(mistake.get("lanes", LANES.replace(old, new)))
        catalog = mistake.get("catalog", WITH_LANES).replace("@", value)
        whole = f"all ({catalog.replace('./lanes.toml', str(lanes))})"
        tried = f"builtins.tryEval (builtins.toJSON ({whole}))"
        expression += f"(builtins.trace {json.dumps(name)} ({tried}).success)\n"
    (root / "all.nix").write_text(f"{expression}]")
    done = run_nix(
        "eval", "--json", "--read-only", "--log-format", "internal-json",
        "--file", str(root / "all.nix"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [False] * len(CASES)
    sentences: dict[str, str] = {}
    name = ""
    for message in messages(done):
        text = message["msg"].removeprefix("trace: ")
        name = text if text in CASES else name
        sentences[name] = text
    return sentences


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_gets_its_sentence(thrown: dict[str, str], name: str) -> None:
    mistake, _, found = CASES[name]
    sentence = thrown[name]
    assert sentence == f"pikaci: {mistake['sentence'].replace('@', found)}"
    assert ": expected " in sentence
    assert ", found " in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("attribute", ["catalog", "plans.other"])
def test_a_mistake_in_one_target_stops_the_catalog_and_every_plan(
    attribute: str,
) -> None:
    targets = 'hello.jobs.greet = { command = "true"; timeoutSecs = "abc"; };'
    it = f'catalog {{ {targets} other.jobs.greet.command = "true"; }}'
    sentence = refusal(f"let it = {it}; in {{ catalog = null; plans = it.{attribute}; }}")
    assert sentence == TIMEOUT_SENTENCE


@pytest.mark.parametrize("attribute", ["catalog", "plans.hello"])
def test_a_mistake_in_the_lanes_stops_the_catalog_and_every_plan(
    attribute: str,
) -> None:
    it = 'mk { lanes = 3; targets = _: { hello.jobs.greet.command = "true"; }; }'
    sentence = refusal(f"let it = {it}; in {{ catalog = null; plans = it.{attribute}; }}")
    assert sentence == "pikaci: lanes: expected the path of a TOML file, found the integer 3"


def test_an_unknown_plan_is_a_missing_attribute() -> None:
    done = eval_catalog("(target { }).plans.helo", "--read-only")
    assert "helo" in error_message(done)["raw_msg"]
    assert "missing" in error_message(done)["raw_msg"]


@pytest.mark.parametrize("options", [(), ("--show-trace",)], ids=["plain", "with a trace"])
def test_the_structured_log_carries_the_sentence_undecorated(options: tuple[str, ...]) -> None:
    done = eval_catalog(f"all ({TIMEOUT_MISTAKE})", *options)
    message = error_message(done)
    assert message["raw_msg"] == TIMEOUT_SENTENCE
    assert message["msg"].endswith(TIMEOUT_SENTENCE)
    assert ("trace" in message) == bool(options)


def test_a_derivation_whose_output_path_is_not_known_is_refused_by_name() -> None:
    floating = (
        'derivation { name = "floating"; system = "x86_64-linux"; builder = "/bin/sh";'
        ' __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; }'
    )
    feature = ("--extra-experimental-features", "ca-derivations")
    said = "whose isn't (it is content-addressed or impure)"
    assert refusal(f"prepare {{ drv = {floating}; }}", *feature) == (
        "pikaci: targets.hello.prepare.dep.drv: expected a derivation whose output path is known"
        f" before it is built, found floating, {said}"
    )
    assert refusal(f'job {{ command = "cat ${{{floating}}}/x"; }}', *feature) == (
        "pikaci: targets.hello.jobs.greet.command: expected derivations whose output paths are"
        f" known before they are built, found floating, {said}"
    )
