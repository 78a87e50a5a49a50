from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jerichoci.errors import CatalogError, RecordError
from jerichoci.plan.hosts import HostConfig, HostKeep
from jerichoci.plan.known import read_plan
from jerichoci.plan.plan import (
    ARGUMENT_LIMIT,
    ExecuteNode,
    Plan,
    PrepareNode,
    parse_plan,
    plan_digest,
)
from jerichoci.plan.rule import ValidationError
from plans import RUN_ID, commanded, job, plan

Json = dict[str, Any]


def values(**changes: object) -> Json:
    nodes = (commanded("dep", "echo > out"), job("greet", needs=["dep"], env={"B": "2", "A": "1"}))
    return plan(*nodes).dump() | changes


def read(*nodes: ExecuteNode | PrepareNode) -> Plan:
    """The plan of these nodes, as it is read from a file."""
    return Plan.model_validate(plan(*nodes).dump())


@st.composite
def shuffled(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401 - JSON
    """The same JSON value with the keys of its objects in another order."""
    match value:
        case dict():
            keys = draw(st.permutations(sorted(value)))
            return {key: draw(shuffled(value[key])) for key in keys}
        case list():
            return [draw(shuffled(row)) for row in value]
        case _:
            return value


def test_a_plan_survives_the_way_through_json() -> None:
    first = parse_plan(values(), "plan.json")
    assert parse_plan(json.loads(json.dumps(first.dump())), "plan.json") == first


def test_a_later_schema_is_refused_with_a_sentence() -> None:
    with pytest.raises(RecordError) as refused:
        parse_plan(values(schema_version=2), "x/plan.json")
    assert str(refused.value) == (
        "x/plan.json has plan schema 2; this pikaci knows 1; use the pikaci that made it, or a"
        " later one"
    )


@pytest.mark.parametrize("wrong", [None, [], "plan", {}, {"schema_version": 1}])
def test_what_is_no_plan_is_refused_with_its_origin(wrong: object) -> None:
    with pytest.raises(CatalogError, match=r"^x/plan\.json is not a plan: "):
        parse_plan(wrong, "x/plan.json")


def test_unknown_fields_are_ignored_at_every_level() -> None:
    extended = values(later="x")
    extended["nodes"][1]["later"] = 1
    extended["nodes"][1]["execute"]["later"] = 1
    assert parse_plan(extended, "plan.json") == parse_plan(values(), "plan.json")


def test_fields_that_may_be_missing_have_defaults() -> None:
    execute = {"command": "true", "timeout_secs": 1}
    node = {"kind": "execute", "id": "execute-a", "job_id": "a", "execute": execute}
    least = {"schema_version": 1, "target_id": "t", "system": "x86_64-linux", "nodes": [node]}
    (only,) = parse_plan(least, "plan.json").jobs
    assert (only.placement, only.runtime) == ("local", "host_process")
    assert only.execute.writable_workspace


def test_nodes_that_are_no_dag_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"in a circle: execute-"):
        read(job("a", after=["b"]), job("b", after=["a"]))
    with pytest.raises(ValidationError, match="execute-a depends on gone, which is not"):
        read(job("a", needs=["gone"]))
    with pytest.raises(ValidationError, match="two nodes have one id"):
        read(job("a"), job("a"))


@pytest.mark.parametrize("output", ["../x", "/etc/passwd", "a/../../x", "."])
def test_an_output_outside_the_workspace_is_refused(output: str) -> None:
    with pytest.raises(ValidationError, match="leaves the workspace"):
        read(commanded("dep", "true", [output]))


def test_the_closure_of_a_job_is_all_it_needs_and_nothing_else() -> None:
    whole = plan(
        commanded("dep", "true"),
        commanded("other", "true"),
        job("a", needs=["dep"]),
        job("b", after=["a"]),
        job("c", needs=["other"]),
    )
    assert whole.closure({"execute-b"}) == {"execute-b", "execute-a", "dep"}


@settings(max_examples=20)
@given(st.data())
def test_the_digest_does_not_depend_on_the_order_of_keys(data: st.DataObject) -> None:
    other = Plan.model_validate(data.draw(shuffled(values())))
    assert plan_digest(other) == plan_digest(Plan.model_validate(values()))


def test_the_digest_is_the_same_in_every_run() -> None:
    whole = Plan.model_validate(values())
    stamped = whole.with_(run_id=RUN_ID, created_at="2026-01-31T23:59:59.000Z")
    assert plan_digest(stamped) == plan_digest(whole)


@settings(max_examples=40)
@given(
    st.sampled_from(["command", "env"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9),
)
def test_the_digest_changes_with_what_a_job_does(field: str, text: str) -> None:
    changed = values()
    changed["nodes"][1]["execute"][field] = text if field == "command" else {"A": text, "C": "x"}
    assert plan_digest(Plan.model_validate(changed)) != plan_digest(Plan.model_validate(values()))


def test_the_longest_command_the_kernel_takes_is_accepted() -> None:
    assert read(job("a", "x" * (ARGUMENT_LIMIT - 1))).jobs


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"command": "x" * ARGUMENT_LIMIT}, "command is longer than 131072 bytes"),
        ({"command": "ä" * (ARGUMENT_LIMIT // 2)}, "command is longer than"),
        ({"command": "a\0b"}, "command contains a NUL"),
        ({"env": {"LONG": "x" * (ARGUMENT_LIMIT - len("LONG="))}}, r"env\.LONG is longer than"),
        ({"env": {"A": "b\0"}}, r"env\.A contains a NUL"),
        (
            {"env": {f"V{n}": "x" * 100_000 for n in range(11)}},
            "longer than 1048576 bytes together",
        ),
        ({"timeout_secs": 0}, "timeout_secs"),
        ({"timeout_secs": -1}, "timeout_secs"),
    ],
)
def test_a_job_that_the_kernel_would_refuse_or_without_time_is_refused(
    fields: Json, what: str
) -> None:
    with pytest.raises(ValidationError, match=what):
        read(job("a", **fields))


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("a\0b", "command contains a NUL"),
        ("x" * ARGUMENT_LIMIT, "command is longer than 131072 bytes"),
        ("'" * (ARGUMENT_LIMIT // 4), "command is longer than 131072 bytes"),
    ],
)
def test_a_host_command_that_the_kernel_would_refuse_is_refused(command: str, what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        read(commanded("dep", command))


def test_a_plan_has_the_hosts_of_its_catalog() -> None:
    described = {"address": "build1.example", "labels": ["linux"], "capacity": {"cpus": 4}}
    whole = parse_plan(values(hosts={"build1": described}), "plan.json")
    assert whole.hosts["build1"] == HostConfig.model_validate(described)
    assert parse_plan(json.loads(json.dumps(whole.dump())), "plan.json") == whole


def test_what_a_later_version_knows_of_a_host_is_ignored() -> None:
    described = {"later": 1, "keep": {"count": 3, "later": 1}, "incus": {"later": {}}}
    whole = parse_plan(values(hosts={"build1": described}), "plan.json")
    assert whole.hosts == {"build1": HostConfig(keep=HostKeep(count=3))}


@pytest.mark.parametrize("wrong", [5, {"port": "ssh"}, {"keep": 5}, {"labels": ["A"]}])
def test_a_host_that_is_none_is_refused_by_its_path(wrong: object) -> None:
    with pytest.raises(CatalogError, match=r"is not a plan: hosts\.build1"):
        parse_plan(values(hosts={"build1": wrong}), "plan.json")


def _has_no_nul(text: str) -> bool:
    return "\0" not in text


@settings(max_examples=30)
@given(
    hosts=st.dictionaries(
        st.sampled_from(["a", "b1"]),
        st.fixed_dictionaries(
            {},
            optional={
                "labels": st.lists(st.sampled_from(["linux", "big"]), max_size=2),
                "keep": st.just({"count": 3}),
                "port": st.integers(1, 65535),
            },
        ),
    ),
    env=st.dictionaries(st.sampled_from(["A", "B_C"]), st.text(max_size=3).filter(_has_no_nul)),
    world=st.fixed_dictionaries(
        {}, optional={"pass_env": st.just(["HOME"]), "network": st.just({"allow": ["a:1"]})}
    ),
)
def test_a_plan_that_was_read_before_is_the_same_plan(hosts: Json, env: Json, world: Json) -> None:
    asked = plan(commanded("dep", "true"), job("greet", needs=["dep"], env=env)).dump()
    asked["hosts"] = hosts
    asked["nodes"][1]["execute"] |= world
    with TemporaryDirectory() as directory:
        answers = Path(directory) / "answers"
        first = read_plan(asked, "plan.json", answers)
        with patch("jerichoci.plan.known.parse_plan") as parsing:
            again = read_plan(asked, "plan.json", answers)
        assert not parsing.called
    assert again == first == parse_plan(asked, "plan.json")
    assert repr(again) == repr(first)
    kept = [host.model_fields_set for host in again.hosts.values()]
    assert kept == [host.model_fields_set for host in first.hosts.values()]


def test_a_plan_with_an_empty_key_is_validated_each_time(tmp_path: Path) -> None:
    asked = plan(job("greet")).dump()
    asked["nodes"][0]["runtime_config"] = {"": "Plan"}
    for _ in range(2):
        assert read_plan(asked, "plan.json", tmp_path / "answers") == parse_plan(asked, "p")
