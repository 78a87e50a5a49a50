from __future__ import annotations

from typing import Any

from nix.evaluation import evaluate

Node = dict[str, Any]
SYSTEMS = '"x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin"'


def nodes_of(plan: dict[str, Any]) -> dict[str, Node]:
    nodes: dict[str, Node] = {node["id"]: node for node in plan["nodes"]}
    assert len(nodes) == len(plan["nodes"])
    return nodes


def test_a_job_that_says_only_its_command_gets_the_defaults() -> None:
    assert evaluate("(target { }).plans.hello") == {
        "schema_version": 1,
        "target_id": "hello",
        "target_description": "hello",
        "system": "x86_64-linux",
        "preconditions": [],
        "snapshot": {"exclude": []},
        "images": [],
        "nodes": [
            {
                "kind": "execute",
                "id": "execute-greet",
                "job_id": "greet",
                "description": "greet",
                "depends_on": [],
                "placement": "local",
                "placement_config": {},
                "runtime": "host_process",
                "runtime_config": {},
                "execute": {
                    "command": "true",
                    "run_as_root": False,
                    "timeout_secs": 3600,
                    "writable_workspace": True,
                    "resources": {"cpus": None, "memory_mib": None},
                    "env": {},
                    "inputs": [],
                    "retries": {"infrastructure": 1, "test": 0},
                },
            }
        ],
    }


def test_what_a_target_says_is_in_its_plan() -> None:
    plan = evaluate(
        '(target { title = "T"; description = "D"; preconditions = [ "a token" ];'
        ' snapshot.exclude = [ "ios/**" ]; jobs.greet = {'
        '  command = "true"; description = "J"; timeoutSecs = 5; env.A = "b"; runAsRoot = true;'
        "  writableWorkspace = false; resources = { cpus = 2; memoryMib = 64; };"
        '  retries.test = 3; placement = "remote_ssh"; labels = [ "kvm" ]; }; }).plans.hello'
    )
    assert plan["target_description"] == "D"
    assert plan["preconditions"] == ["a token"]
    assert plan["snapshot"] == {"exclude": ["ios/**"]}
    (node,) = plan["nodes"]
    assert (node["description"], node["placement"]) == ("J", "remote_ssh")
    assert node["placement_config"] == {"labels": ["kvm"]}
    assert node["execute"] == {
        "command": "true",
        "run_as_root": True,
        "timeout_secs": 5,
        "writable_workspace": False,
        "resources": {"cpus": 2, "memory_mib": 64},
        "env": {"A": "b"},
        "inputs": [],
        "retries": {"infrastructure": 1, "test": 3},
    }


def test_a_prepare_becomes_a_node_and_an_input_of_the_jobs_that_need_it() -> None:
    plan = evaluate(
        "(target {"
        ' prepare.my-dep = { drv = drv "Dep_1.2+b"; timeoutSecs = 5; guestPath = "/opt/dep";'
        '  residency = "remote"; description = "Dep"; placement = "remote_ssh"; host = "big"; };'
        ' jobs = { a = { command = "true"; needs = [ "my-dep" ];'
        '   placement = "remote_ssh"; host = "big"; };'
        '  b = { command = "true"; needs = [ "a" ]; }; }; }).plans.hello'
    )
    nodes = nodes_of(plan)
    (dep,) = (node for node in nodes.values() if node["kind"] == "prepare")
    build = dep["prepare"]
    drv_hash = build["drv_path"].removeprefix("/nix/store/")[:8]
    assert build["drv_path"].endswith("-Dep_1.2+b.drv")
    assert dep == {
        "kind": "prepare",
        "id": f"dep_1-2-b-{drv_hash}",
        "prepare_id": "my-dep",
        "description": "Dep",
        "depends_on": [],
        "placement": "remote_ssh",
        "placement_config": {"host": "big"},
        "prepare": {
            "type": "nix_build",
            "installable": build["drv_path"] + "^out",
            "drv_path": build["drv_path"],
            "out_path": build["out_path"],
            "output_name": "out",
            "residency": "remote",
            "timeout_secs": 5,
        },
    }
    assert build["out_path"].endswith("-Dep_1.2+b")
    assert nodes["execute-a"]["depends_on"] == [dep["id"]]
    assert nodes["execute-a"]["execute"]["inputs"] == [
        {"node_id": dep["id"], "env": "PIKACI_INPUT_MY_DEP", "guest_path": "/opt/dep"}
    ]
    assert nodes["execute-b"]["depends_on"] == ["execute-a"]
    assert nodes["execute-b"]["execute"]["inputs"] == []


def test_targets_that_share_a_derivation_share_its_node() -> None:
    plans = evaluate(
        "(catalog {"
        ' a = { prepare.one.drv = drv "dep"; jobs.x.command = "true"; };'
        ' b = { prepare.two.drv = drv "dep"; jobs.x.command = "true"; };'
        ' c.jobs.x.command = "cat ${drv "dep"}"; }).plans'
    )
    prepares = [plans[name]["nodes"][0] for name in "abc"]
    assert [node.pop("prepare_id", None) for node in prepares] == ["one", "two", None]
    assert prepares[0] == prepares[1] == prepares[2]


def test_two_prepares_of_one_derivation_are_one_node_and_two_inputs() -> None:
    plan = evaluate(
        '(target { prepare = { one.drv = drv "dep"; two.drv = drv "dep"; };'
        ' jobs.greet = { command = "true"; needs = [ "one" "two" ]; }; }).plans.hello'
    )
    dep, greet = plan["nodes"]
    assert greet["depends_on"] == [dep["id"]]
    assert [(i["node_id"], i["env"], i["guest_path"]) for i in greet["execute"]["inputs"]] == [
        (dep["id"], "PIKACI_INPUT_ONE", "/staged/one"),
        (dep["id"], "PIKACI_INPUT_TWO", "/staged/two"),
    ]


def test_other_outputs_are_nodes_of_their_own() -> None:
    plan = evaluate(
        'let two = derivation { name = "two"; system = "x86_64-linux"; builder = "/bin/sh";'
        ' outputs = [ "out" "dev" ]; }; in'
        ' (target { prepare = { a.drv = two; b = { drv = two; output = "dev"; };'
        " c.drv = two.dev; }; }).plans.hello"
    )
    found = {n["id"]: n["prepare"] for n in plan["nodes"] if n["kind"] == "prepare"}
    plain, dev = sorted(found)
    assert dev == f"{plain}-dev"
    assert found[dev]["output_name"] == "dev"
    assert found[dev]["installable"] == found[plain]["drv_path"] + "^dev"
    assert found[dev]["out_path"].endswith("-two-dev")


def test_a_long_derivation_name_is_cut_to_an_id() -> None:
    name = "L" + "o" * 80 + "ng"
    plan = evaluate(f'(prepare {{ drv = drv "{name}"; }}).plans.hello')
    node = plan["nodes"][0]
    assert len(node["id"]) == 64
    assert node["id"].startswith("looo")
    assert node["id"][-8:] == node["prepare"]["drv_path"].removeprefix("/nix/store/")[:8]


def test_a_host_command_is_a_node_by_the_name_of_its_prepare() -> None:
    plan = evaluate(
        '(target { prepare.bundle = { hostCommand = { command = "make ${drv "dep"}";'
        ' outputs = [ "dist/app" ]; }; timeoutSecs = 9; };'
        ' jobs.greet = { command = "true"; needs = [ "bundle" ]; }; }).plans.hello'
    )
    nodes = nodes_of(plan)
    dep, bundle = nodes[plan["nodes"][1]["id"]], nodes["bundle"]
    assert bundle["depends_on"] == [dep["id"]]
    assert bundle["prepare"] == {
        "type": "host_command",
        "command": f"make {dep['prepare']['out_path']}",
        "outputs": ["dist/app"],
        "timeout_secs": 9,
    }
    assert nodes["execute-greet"]["execute"]["inputs"] == [
        {"node_id": "bundle", "env": "PIKACI_INPUT_BUNDLE", "guest_path": "/staged/bundle"}
    ]


def test_a_guest_has_its_network_and_what_nix_built_in_its_store_unless_told_where() -> None:
    plan = evaluate(
        '(mk { images.runner.alias = "pikaci/dev"; targets = _: { hello = { prepare = {'
        ' built.drv = drv "a"; elsewhere = { drv = drv "b"; guestPath = "/opt/b"; };'
        ' made.hostCommand = { command = "make"; outputs = [ "x" ]; }; };'
        ' jobs.greet = { command = "true"; runtime = "incus";'
        ' needs = [ "built" "elsewhere" "made" ];'
        ' incus = { role = "runner"; network = "pikaci0"; }; }; }; }; }).plans.hello'
    )
    job = nodes_of(plan)["execute-greet"]
    assert job["runtime_config"] == {"role": "runner", "network": "pikaci0"}
    assert {given["env"]: given["guest_path"] for given in job["execute"]["inputs"]} == {
        "PIKACI_INPUT_BUILT": None,
        "PIKACI_INPUT_ELSEWHERE": "/opt/b",
        "PIKACI_INPUT_MADE": "/staged/made",
    }


def test_a_tart_job_has_its_knobs_in_snake_case() -> None:
    plan = evaluate(
        '(job { runtime = "tart"; tart = { base = "ghcr.io/cirruslabs/macos-sequoia-xcode:16";'
        ' mountHostToolchain = true; xcodePath = "/Volumes/My Shared Files/xcode";'
        ' shares = [ { name = "xcode"; path = "/Applications/Xcode 16.app"; }'
        ' { name = "cache"; path = "/Users/ci/.cache/..x"; readOnly = false; } ]; }; }).plans.hello'
    )
    assert plan["nodes"][0]["runtime_config"] == {
        "base": "ghcr.io/cirruslabs/macos-sequoia-xcode:16",
        "mount_host_toolchain": True,
        "xcode_path": "/Volumes/My Shared Files/xcode",
        "shares": [
            {"name": "xcode", "path": "/Applications/Xcode 16.app", "read_only": True},
            {"name": "cache", "path": "/Users/ci/.cache/..x", "read_only": False},
        ],
    }


def test_a_tart_job_of_any_system_has_a_base_and_nothing_else_unless_it_asks() -> None:
    plans = evaluate(
        f"builtins.mapAttrs (_: it: it.plans.hello) (lib.mkCatalog {{ systems = [ {SYSTEMS} ];"
        ' targets = _: { hello.jobs.greet = { command = "sw_vers"; runtime = "tart";'
        ' tart.base = "sequoia"; }; }; })'
    )
    assert len(plans) == 4
    for system, plan in plans.items():
        (node,) = plan["nodes"]
        assert (plan["system"], node["runtime"]) == (system, "tart")
        assert node["runtime_config"] == {
            "base": "sequoia",
            "mount_host_toolchain": False,
            "xcode_path": None,
            "shares": [],
        }


def test_a_share_of_the_toolchain_may_have_xcode() -> None:
    plan = evaluate(
        '(job { runtime = "tart"; tart = { base = "sequoia"; mountHostToolchain = true;'
        ' xcodePath = "/Volumes/My Shared Files/toolchain/Xcode.app"; }; }).plans.hello'
    )
    config = plan["nodes"][0]["runtime_config"]
    assert config["xcode_path"] == "/Volumes/My Shared Files/toolchain/Xcode.app"
