"""Every mistake in a catalog ends in one sentence: where, what was expected, what was found."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from nix.evaluation import error_message, eval_catalog, refusal


def filled(mistake: dict[str, Any], value: str, found: str) -> dict[str, str]:
    """The catalog and the sentence of a mistake for one of its values."""
    if "each" not in mistake:
        return {}
    return {
        "catalog": mistake["catalog"].replace("@", value),
        "sentence": mistake["sentence"].replace("@", found),
    }


WRITTEN = tomllib.loads((Path(__file__).parent / "mistakes.toml").read_text())
MISTAKES = {
    f"{name} {value}".rstrip(): mistake | filled(mistake, value, found)
    for name, mistake in WRITTEN.items()
    for value, found in mistake.get("each", [("", "")])
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


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_gets_its_sentence(mistake: dict[str, Any], tmp_path: Path) -> None:
    lanes = tmp_path / "lanes.toml"
    old, new = mistake.get("change", ("", ""))
    assert old in LANES
    lanes.write_text(mistake.get("lanes", LANES.replace(old, new)))
    catalog = mistake.get("catalog", WITH_LANES).replace("./lanes.toml", str(lanes))
    sentence = refusal(catalog)
    assert sentence == f"pikaci: {mistake['sentence']}"
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
