from __future__ import annotations

from jerichoci.plan.plan import parse_plan
from pikaci.commands.plan import mermaid

PLAN = {
    "schema_version": 1,
    "target_id": "hello",
    "system": "x86_64-linux",
    "nodes": [
        {
            "kind": "prepare",
            "id": "bundle",
            "depends_on": [],
            "placement": "local",
            "prepare": {
                "type": "host_command",
                "command": "make",
                "outputs": ["dist"],
                "timeout_secs": 9,
            },
        },
        {
            "kind": "execute",
            "id": "execute-greet",
            "job_id": "greet",
            "depends_on": ["bundle"],
            "placement": "local",
            "runtime": "host_process",
            "execute": {"command": "true", "timeout_secs": 9},
        },
    ],
}


def test_a_plan_is_drawn_with_an_arrow_for_each_need() -> None:
    assert mermaid(parse_plan(PLAN, "a plan")).splitlines() == [
        "flowchart LR",
        '  n0(["bundle"])',
        '  n1["greet<br/>local, host_process"]',
        "  n0 --> n1",
    ]
