"""Hosts that a catalog describes, and what of them a plan has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jerichoci.plan.hosts import HostConfig
from jerichoci.plan.plan import parse_plan
from jerichoci.plan.rule import ValidationError
from nix.evaluation import evaluate

HOSTS = (
    'hosts = { big.labels = [ "linux" "big" ]; small.labels = [ "linux" ];'
    ' mac = { address = "mac.example"; labels = [ "mac" ]; }; bare = { }; };'
)
REMOTE = 'command = "true"; placement = "remote_ssh";'
FINGERPRINT = "SHA256:" + "A1+/" * 10 + "abc"

# For each key of Nix and of a record, values that one of them could take and the other not.
VALUES: dict[str, list[Any]] = {
    "address": ["a", "b1.example", "::1", "fe80::1%eth0", "", "-x", "a@b", "a b", "a\n", 5],
    "port": [1, 22, 65535, 0, 65536, -1, "22", True, 1.5],
    "user": ["ci", "a.b-c", "DOMAIN\\x", "", "-x", "a b", "a@b", "@a", "a:b", "a\n"],
    "key": ["/k", "~/.ssh/k", "~", "~/", "/", "k", "~x/k", "/a/../k", "/a b", "/a\nb", ""],
    "fingerprint": [FINGERPRINT, FINGERPRINT + "=", FINGERPRINT[:-1], "MD5:00:11", ""],
    "proxyJump": ["b", "u@b:22", "a,b", "[::1]:22", "", "-b", "a,-b", "a,,b", "a,", "a b"],
    "workDir": ["/w", "~/w", "/w/.hidden", "/w..", "/", "~", "w", "/..", "/w/..", "~/../w", "/w\n"],
    "searchPath": [[], ["/a", "~/b"], "/a", ["a"], ["/a:/b"], ["/a/.."], [5]],
    "labels": [[], ["linux", "a_b-1"], "linux", ["Linux"], ["-x"], ["a" * 65], [""], [5]],
    "lineLimitSecs": [1, 600, 0, -1, "1", True],
    "capacity": [{}, {"cpus": 1}, {"jobs": 2}, {"jobs": None}, {"jobs": 0}, {"cpu": 1}, 5],
    "keep": [{}, {"count": 0, "days": 0, "mib": 0}, {"count": -1}, {"weeks": 1}],
    "incus": [{}, {"socket": "/s", "pool": "p"}, {"project": ""}, {"projekt": "x"}],
    "nix": [{}, {"key": "/k"}, 5],
}
RECORDED = {
    "lineLimitSecs": "line_limit_secs",
    "proxyJump": "proxy_jump",
    "searchPath": "search_path",
    "workDir": "work_dir",
}


def hosts_of(target: str) -> dict[str, Any]:
    plan = evaluate(f"(mk {{ {HOSTS} targets = _: {{ hello = {target}; }}; }}).plans.hello")
    found: dict[str, Any] = plan.get("hosts", {})
    return found


def is_accepted(key: str, value: object) -> bool:
    try:
        HostConfig.model_validate({RECORDED.get(key, key): value})
    except ValidationError:
        return False
    return True


def test_a_plan_has_what_is_said_of_a_host_and_no_defaults() -> None:
    plan = evaluate(
        '(mk { hosts.build1 = { address = "build1.example"; port = 2222; user = "ci";'
        f' key = "~/.ssh/id_ci"; fingerprint = "{FINGERPRINT}"; proxyJump = "me@bastion:22";'
        ' workDir = "~/work"; searchPath = [ "/opt/bin" ]; labels = [ "linux" ];'
        " lineLimitSecs = 60; capacity = { cpus = 4; memoryMib = 4096; jobs = null; };"
        ' keep.days = 3; incus.project = "p"; nix.signingKey = "~/secret"; };'
        f' targets = _: {{ hello.jobs.greet = {{ {REMOTE} host = "build1"; }}; }}; }}).plans.hello'
    )
    assert plan["hosts"] == {
        "build1": {
            "address": "build1.example",
            "port": 2222,
            "user": "ci",
            "key": "~/.ssh/id_ci",
            "fingerprint": FINGERPRINT,
            "proxy_jump": "me@bastion:22",
            "work_dir": "~/work",
            "search_path": ["/opt/bin"],
            "labels": ["linux"],
            "line_limit_secs": 60,
            "capacity": {"cpus": 4, "memory_mib": 4096},
            "keep": {"days": 3},
            "incus": {"project": "p"},
            "nix": {"signing_key": "~/secret"},
        }
    }
    read = parse_plan(plan, "plan.json").hosts["build1"]
    assert read == HostConfig.model_validate(plan["hosts"]["build1"])


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ('host = "mac";', {"mac"}),
        ('host = "elsewhere";', set()),
        ('labels = [ "linux" ];', {"big", "small"}),
        ('labels = [ "linux" "big" ];', {"big"}),
        ('labels = [ "linux" "mac" ];', set()),
    ],
)
def test_a_plan_has_the_hosts_that_its_jobs_may_run_on(where: str, names: set[str]) -> None:
    assert set(hosts_of(f"{{ jobs.greet = {{ {REMOTE} {where} }}; }}")) == names


def test_a_plan_has_the_hosts_of_its_prepares() -> None:
    target = (
        '{ prepare.made = { hostCommand = { command = "make"; outputs = [ "x" ]; };'
        ' placement = "remote_ssh"; host = "mac"; };'
        f' jobs = {{ greet = {{ {REMOTE} labels = [ "big" ]; }}; here.command = "true"; }}; }}'
    )
    assert hosts_of(target) == {
        "big": {"labels": ["linux", "big"]},
        "mac": {"address": "mac.example", "labels": ["mac"]},
    }


def test_a_plan_of_local_jobs_says_nothing_of_hosts() -> None:
    plan = evaluate(
        f'(mk {{ {HOSTS} targets = _: {{ hello.jobs.greet.command = "true"; }}; }}).plans.hello'
    )
    assert "hosts" not in plan


def test_a_catalog_does_not_look_at_hosts() -> None:
    catalog = evaluate(
        '(mk { hosts = throw "forced"; targets = _: { hello.jobs.greet.command = "true"; }; })'
        ".catalog"
    )
    assert [target["id"] for target in catalog["targets"]] == ["hello"]


def test_a_mistake_in_any_host_stops_every_plan() -> None:
    for where in ("", 'placement = "remote_ssh"; host = "good";'):
        fine = evaluate(
            "(builtins.tryEval (mk { hosts = { good = { }; bad.port = 0; };"
            f' targets = _: {{ hello.jobs.greet = {{ command = "true"; {where} }}; }}; }})'
            ".plans.hello).success"
        )
        assert not fine


def test_catalogs_take_what_records_take() -> None:
    pairs = [(key, value) for key, values in VALUES.items() for value in values]
    text = json.dumps(json.dumps([{"key": key, "value": value} for key, value in pairs]))
    accepted = evaluate(
        "builtins.map (it: (builtins.tryEval (mk { hosts.build1.${it.key} = it.value;"
        ' targets = _: { hello.jobs.greet.command = "true"; }; }).plans.hello).success)'
        f" (builtins.fromJSON {text})"
    )
    expected = [is_accepted(key, value) for key, value in pairs]
    differing = [
        pair for pair, nix, python in zip(pairs, accepted, expected, strict=True) if nix != python
    ]
    assert differing == []


NEEDS = 'command = "true"; needs = [ "dep" ];'
BIG = 'placement = "remote_ssh"; host = "big";'


@pytest.mark.parametrize(
    "target",
    [
        f'prepare.dep.drv = drv "dep"; jobs.a = {{ {NEEDS} {BIG} }};',
        (
            f'prepare.dep = {{ drv = drv "dep"; residency = "remote"; {BIG} }};'
            f" jobs.a = {{ {NEEDS} {BIG} }};"
        ),
        (
            f'prepare.dep = {{ drv = drv "dep"; residency = "remote"; {BIG} }};'
            ' jobs.a.command = "true";'
        ),
        (
            f'prepare.dep = {{ drv = drv "dep"; residency = "remote"; {BIG} }};'
            f' jobs.a = {{ command = "cat ${{drv "dep"}}"; {BIG} }};'
        ),
        (
            f'prepare.dep = {{ hostCommand = {{ command = "make"; outputs = [ "x" ]; }}; {BIG} }};'
            f' jobs = {{ a = {{ {NEEDS} {BIG} }}; b = {{ command = "true"; needs = [ "a" ]; }}; }};'
        ),
        (
            'prepare.dep = { hostCommand = { command = "make"; outputs = [ "x" ]; };'
            ' placement = "remote_ssh"; labels = [ "linux" "big" ]; };'
            f' jobs.a = {{ {NEEDS} placement = "remote_ssh"; labels = [ "big" "linux" ]; }};'
        ),
    ],
)
def test_a_job_may_need_what_is_where_it_runs_or_can_be_copied_there(target: str) -> None:
    assert evaluate(f"(catalog {{ hello = {{ {target} }}; }}).plans.hello")["nodes"]


def test_all_hosts_are_told_as_plans_tell_them() -> None:
    hosts = evaluate(
        '(mk { hosts.build1 = { workDir = "~/work"; capacity.memoryMib = 4096; };'
        " hosts.idle = { }; targets = _: { }; }).hosts"
    )
    assert hosts.keys() == {"build1", "idle"}
    build1 = HostConfig.model_validate(hosts["build1"])
    assert build1.work_dir == "~/work"
    assert build1.capacity.memory_mib == 4096
