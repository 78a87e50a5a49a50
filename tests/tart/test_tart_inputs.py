"""What jobs in VMs are shown of their host: prepared outputs, directories, a toolchain, Xcode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derivations import derive
from jerichoci.errors import UsageError
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.status import FailureKind, PhaseName, Status
from plans import built, commanded
from runner import Ended, Runner
from tart.left import assert_nothing_is_left
from tart_jobs import vm_job
from usertree import UserTree

if TYPE_CHECKING:
    from jerichoci.plan.plan import ExecuteNode, PrepareNode
    from tart.mac import Mac

RUSTC = """#!/bin/sh
[ "$*" = "--print sysroot" ] || exit 64
read -r channel <rust-toolchain.toml 2>/dev/null || channel=stable
echo {toolchains}/$channel
"""
MANIFEST = """{"schema_version": 1, "kind": "tools", "mounts": [
  {"name": "bin", "relative_path": "bin", "guest_path": "/opt/tools", "read_only": true}]}"""


pytestmark = pytest.mark.usefixtures("base")


async def passes(runner: Runner, *nodes: PrepareNode | ExecuteNode) -> str:
    """What the job prints, which passes."""
    run = await runner.run(*nodes)
    assert run.job("a").status is Status.PASSED, run.log("a")
    return said(run)


def said(run: Ended) -> str:
    return (run.layout.attempt("a", 1) / "guest.log").read_text()


def at(job: ExecuteNode, path: str) -> ExecuteNode:
    """The same job, with all its inputs at a path."""
    inputs = [ref.with_(guest_path=path) for ref in job.execute.inputs]
    return job.with_(execute=job.execute.with_(inputs=inputs))


def message(run: Ended) -> str:
    cause = run.job("a").cause
    assert cause
    return cause.message


# Prepared outputs

READ = """
  echo "$PIKACI_INPUT_MADE"; cat "$PIKACI_INPUT_MADE/out"
  (echo x > "$PIKACI_INPUT_MADE/out") 2>/dev/null || echo refused
"""


async def test_what_host_commands_made_is_staged(runner: Runner) -> None:
    nodes = [
        commanded("made", "cp README out; echo more >> out"),
        commanded("the-other", "echo other > out"),
    ]
    command = f"{READ} cat $PIKACI_INPUT_THE_OTHER/out; ls /staged"
    text = await passes(runner, *nodes, vm_job("a", command, needs=["made", "the-other"]))
    assert text == "/staged/made\nhello\nmore\nrefused\nother\nmade\nthe-other\n"


async def test_what_a_host_command_made_is_where_the_plan_says(runner: Runner) -> None:
    job = at(vm_job("a", READ, needs=["made"]), "/opt/deep/placed")
    text = await passes(runner, commanded("made", "cp README out"), job)
    assert text == "/opt/deep/placed\nhello\nrefused\n"


async def test_store_paths_are_at_their_places_with_their_closure_and_no_others(
    runner: Runner,
) -> None:
    scripts = {"dep": "echo from the dep > $out", "it": "echo $needed > $out", "no": "echo > $out"}
    made = derive(scripts, needs={"it": ["dep"]})
    nodes = [built(name, made[name]) for name in ("it", "no")]
    command = """
      cat $(cat $PIKACI_INPUT_IT); echo $PIKACI_INPUT_IT; ls /nix/store
      (echo x > $PIKACI_INPUT_IT) 2>/dev/null || echo refused
    """
    job = vm_job("a", command, needs=["it"])
    content, path, *names, refused = (await passes(runner, *nodes, job)).splitlines()
    assert (content, refused) == ("from the dep", "refused")
    assert path == made["it"].out_path
    paths = [f"/nix/store/{name}" for name in names]
    assert sorted(paths) == sorted(made[name].out_path or "" for name in ("it", "dep"))


async def test_a_store_path_is_where_the_plan_says_too(runner: Runner) -> None:
    made = derive(it="mkdir $out; echo from the store > $out/file")["it"]
    command = f"echo $PIKACI_INPUT_IT; cat $PIKACI_INPUT_IT/file {made.out_path}/file"
    job = at(vm_job("a", command, needs=["it"]), "/opt/placed")
    text = await passes(runner, built("it", made), job)
    assert text == "/opt/placed\nfrom the store\nfrom the store\n"


async def test_a_payload_is_also_where_it_says_itself(runner: Runner) -> None:
    script = f"""
      mkdir -p $out/share/pikaci $out/bin; echo tool > $out/bin/tool
      cat > $out/share/pikaci/payload-manifest.json <<'END'\n{MANIFEST}\nEND
    """
    made = derive(it=script.replace("\n      ", "\n"))["it"]
    command = "cat /opt/tools/tool $PIKACI_INPUT_IT/bin/tool"
    text = await passes(runner, built("it", made), vm_job("a", command, needs=["it"]))
    assert text == "tool\ntool\n"


async def test_a_guest_s_own_store_has_both(runner: Runner, mac: Mac) -> None:
    mac.add_base("nixed", files={"/nix/store/own/file": "own\n"})
    made = derive(it="echo from the store > $out")["it"]
    command = "cat /nix/store/own/file $PIKACI_INPUT_IT"
    job = vm_job("a", command, needs=["it"], base="nixed")
    assert await passes(runner, built("it", made), job) == "own\nfrom the store\n"


async def test_a_place_that_the_guest_has_something_at_is_refused(runner: Runner, mac: Mac) -> None:
    mac.add_base("full", files={"/opt/placed/file": "own\n"})
    job = at(vm_job("a", READ, needs=["made"], base="full"), "/opt/placed")
    run = await runner.run(commanded("made", "cp README out"), job)
    assert run.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert "(exit code 71): bootstrap: /opt/placed is there already" in message(run)
    assert_nothing_is_left(mac, runner.state)


# Shares


async def test_directories_of_the_host_are_shared_and_can_be_written_where_the_job_says_so(
    runner: Runner, tmp_path: Path
) -> None:
    read, written = tmp_path / "model cache, ro", tmp_path / "one"
    for directory in (read, written):
        directory.mkdir()
        directory.chmod(0o777)
    read.joinpath("file").write_text("shared\n")
    rows = [
        {"name": "model-cache", "path": str(read), "read_only": True},
        {"name": "one", "path": str(written), "read_only": False},
    ]
    command = """
      echo "$PIKACI_SHARE_MODEL_CACHE"; cat "$PIKACI_SHARE_MODEL_CACHE/file"
      echo new > "$PIKACI_SHARE_ONE/new"
      (sudo -n touch "$PIKACI_SHARE_MODEL_CACHE/new") 2>/dev/null || echo refused
    """
    text = await passes(runner, vm_job("a", command, tart={"shares": rows}))
    assert text == "/Volumes/My Shared Files/model-cache\nshared\nrefused\n"
    assert (written / "new").read_text() == "new\n"
    assert [path.name for path in read.iterdir()] == ["file"]


async def test_a_share_that_is_not_there_is_refused_before_anything_starts(
    runner: Runner, mac: Mac
) -> None:
    rows = [{"name": "cache", "path": "/missing/cache", "read_only": True}]
    with pytest.raises(UsageError, match="has no directory /missing/cache, which job a shares"):
        await runner.run(vm_job("a", tart={"shares": rows}))
    assert mac.calls("clone") == []


async def test_a_share_whose_path_tart_can_not_read_is_refused(
    runner: Runner, mac: Mac, tmp_path: Path
) -> None:
    shared = tmp_path / "with:colon"
    shared.mkdir()
    rows = [{"name": "cache", "path": str(shared), "read_only": True}]
    run = await runner.run(vm_job("a", tart={"shares": rows}))
    assert "tart takes no path with `:`" in message(run)
    cause = run.job("a").cause
    assert cause
    assert cause.phase == PhaseName.PREPARE_RUNTIME
    assert_nothing_is_left(mac, runner.state)


# Tools of the host


def add_toolchain(mac: Mac, directory: Path, channel: str) -> Path:
    """A Rust toolchain of the Mac's, and the `rustc` that finds it."""
    sysroot = directory / "toolchains" / channel
    (sysroot / "bin").mkdir(parents=True)
    for name in ("cargo", "rustc"):
        program = sysroot / "bin" / name
        program.write_text(f"#!/bin/sh\necho {name} of {channel}\n")
        program.chmod(0o755)
    rustc = mac.bin / "rustc"
    rustc.write_text(RUSTC.format(toolchains=directory / "toolchains"))
    rustc.chmod(0o755)
    return sysroot


async def test_the_toolchain_that_the_tree_names_comes_first_in_the_path(
    runner: Runner, mac: Mac, tmp_path: Path
) -> None:
    user = UserTree(tmp_path / "pinned")
    user.write("rust-toolchain.toml", "nightly\n")
    tree = (await take_snapshot(runner.state.root, user.root)).tree
    _, sysroot = (add_toolchain(mac, tmp_path, channel) for channel in ("stable", "nightly"))
    job = vm_job("a", "cargo; rustc", tart={"mount_host_toolchain": True})
    run = await Runner(runner.state, tree).run(job)
    assert said(run) == "cargo of nightly\nrustc of nightly\n"
    assert run.job("a").execution["toolchain"] == str(sysroot)


async def test_a_mac_without_a_toolchain_is_refused_before_anything_starts(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    others = tmp_path / "bin"
    others.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in {"rustc", "cargo"}:
            (others / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", f"{mac.bin}:{others}")
    with pytest.raises(UsageError, match=r"has no Rust toolchain to share: .*; install it on"):
        await runner.run(vm_job("a", tart={"mount_host_toolchain": True}))
    assert mac.calls("clone") == []


async def test_a_job_has_the_xcode_that_it_asks_for(runner: Runner, mac: Mac) -> None:
    xcode = "/Applications/Xcode 16.app"
    mac.add_base("xcode", files={f"{xcode}/Contents/Developer/usr/bin/xcodebuild": "x"})
    command = 'echo "$DEVELOPER_DIR"; xcode-select -p'
    job = vm_job("a", command, base="xcode", tart={"xcode_path": xcode})
    assert await passes(runner, job) == f"{xcode}/Contents/Developer\n" * 2


async def test_xcode_may_be_the_host_s(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "Xcode.app/Contents/Developer").mkdir(parents=True)
    rows = [{"name": "xcode", "path": str(tmp_path / "Xcode.app"), "read_only": True}]
    path = "/Volumes/My Shared Files/xcode"
    command = 'ls -d "$DEVELOPER_DIR"'
    job = vm_job("a", command, tart={"xcode_path": path, "shares": rows})
    assert await passes(runner, job) == f"{path}/Contents/Developer\n"


async def test_an_xcode_that_the_guest_has_not_got_is_infrastructure(
    runner: Runner, mac: Mac
) -> None:
    run = await runner.run(vm_job("a", tart={"xcode_path": "/Applications/Xcode.app"}))
    assert run.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert "bootstrap: the guest has no Xcode at /Applications/Xcode.app" in message(run)
    assert_nothing_is_left(mac, runner.state)
