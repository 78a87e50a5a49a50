from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from derivations import derive, is_valid
from e2e.project import processes, wait_for
from jerichoci.nix.payload_files import MANIFEST
from jerichoci.record.record import PreparedOutput, PreparedOutputs, PreparedPlace
from jerichoci.status import FailureKind, Status
from plans import built, commanded, job
from remote.away import away
from remote.breaking import make_quick
from remote.far_host import FarHost, one_far_host
from remote.machine import SYSTEM_PATH
from remote.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jerichoci.plan.plan import ExecuteNode, NixBuild, PrepareNode
    from remote.conftest import WriteHosts
    from runner import Ended, Runner

MIB = 1024 * 1024
PATHS, PATH_BYTES = 20, 4 * MIB
SILENCE_SECS = 5
"""Longer than it takes to give up a connection."""
USE = "cat $PIKACI_INPUT_DEP"
RANDOM = "head -c {} /dev/urandom > $out"


@pytest.fixture
def pair(two_far_hosts: list[FarHost], hosts_config: WriteHosts) -> list[FarHost]:
    """Two of them, either of which will do for who asks for `linux`."""
    hosts_config(*two_far_hosts, labels=["linux"], capacity={"jobs": 1})
    return two_far_hosts


@pytest.fixture(scope="module")
def bare_host() -> Iterator[FarHost]:
    """A host without Nix."""
    with one_far_host("bare", environment={"PATH": SYSTEM_PATH}) as host:
        yield host


def there(node: PrepareNode, host: FarHost | None = None, labels: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - a node
    """A prepare node that is made where the jobs on that host are."""
    where = {"host": host.name} if host else {"labels": list(labels)}
    changes: dict[str, Any] = {"placement": "remote_ssh", "placement_config": where}
    return node.with_(**changes)


def stays(
    name: str, build: NixBuild, host: FarHost | None = None, labels: tuple[str, ...] = ()
) -> PrepareNode:
    """A derivation that is built on that host, and isn't here."""
    node: PrepareNode = there(built(name, build.with_(residency="remote")), host, labels)
    return node


def output_of(ended: Ended, name: str = "dep") -> PreparedOutput:
    record = PreparedOutputs.model_validate_json(ended.layout.prepared_outputs.read_bytes())
    return next(row for row in record.outputs if row.node_id == name)


def place_of(ended: Ended, name: str = "dep") -> PreparedPlace:
    (place,) = output_of(ended, name).places
    return place


def ways(ended: Ended, name: str = "dep") -> dict[str, str | None]:
    return {place.host: place.how for place in output_of(ended, name).places}


def is_valid_at(host: FarHost, path: str) -> bool:
    return host.run(["nix-store", "--check-validity", path], check=False).returncode == 0


def gcroots(host: FarHost) -> list[Path]:
    return sorted(host.work_dir.glob("runs/*/gcroots/*"))


def cause_of(ended: Ended, name: str = "use") -> tuple[FailureKind | None, str, str]:
    job = ended.job(name)
    assert job.cause
    return job.failure_kind, str(job.cause.code), job.cause.message


async def seen(look: Callable[[], object], running: asyncio.Task[Ended] | None = None) -> None:
    """Wait until there is something to see, while a run goes on."""

    def look_again() -> object:
        found = look()
        assert found or running is None or not running.done(), running
        return found

    await asyncio.to_thread(wait_for, look_again, 60)


async def test_what_is_built_here_is_copied_once_and_what_stays_there_is_built_there(
    runner: Runner, host: FarHost
) -> None:
    builds = derive(
        base=RANDOM.format(8 * MIB),
        there=f"echo from the builder; {RANDOM.format(8 * MIB)}",
        dep="echo $needed > $out",
        needs={"dep": ["base"]},
    )
    base = away("base", "wc -c < $PIKACI_INPUT_BASE", host, needs=["base"])
    use = away("use", "wc -c < $PIKACI_INPUT_THERE", host, needs=["there"])
    nodes: list[Any] = [built("base", builds["base"]), stays("there", builds["there"], host)]
    nodes += [base, use]
    ended = await runner.run(*nodes)
    assert ended.said("base") == ended.said("use")[-1:] == [str(8 * MIB)]
    near, far = output_of(ended, "base").places
    assert (near.how, near.bytes_moved, near.gc_root) == ("built", 0, "gcroots/base")
    assert (far.host, far.how, far.path) == (host.name, "copied", builds["base"].out_path)
    assert 8 * MIB < far.bytes_moved < 9 * MIB
    assert "there> from the builder\n" in ended.log("use")
    place = place_of(ended, "there")
    assert (place.host, place.how, place.path) == (host.name, "built", builds["there"].out_path)
    assert 0 < place.bytes_moved < MIB
    assert not is_valid(builds["there"].out_path)

    # Of what is there already, nothing is copied.
    missing = away("missing", "wc -c < $(cat $PIKACI_INPUT_DEP)", host, needs=["dep"])
    again = await runner.run(*nodes, built("dep", builds["dep"]), missing)
    assert again.said("missing") == [str(8 * MIB)]
    places = [*output_of(again, "base").places, place_of(again, "there")]
    assert [(row.how, row.bytes_moved) for row in places] == [("valid", 0)] * 3
    assert 0 < output_of(again).places[1].bytes_moved < MIB


async def test_what_fails_there_is_told_as_what_fails_here(
    runner: Runner, host: FarHost, marker: str
) -> None:
    manifest = {"schema_version": 1, "kind": "build", "entrypoints": ["bin/run"]}
    write = f"mkdir -p $out/share/pikaci; echo '{json.dumps(manifest)}' > $out/{MANIFEST}"
    program = "mkdir $out/bin; echo > $out/bin/run; chmod +x $out/bin/run"
    builds = derive(
        fails="echo no luck; exit 1",
        late=f"sh -c 'sleep 600; : {marker}'",
        good=f"{write}; {program}",
        bad=write,
        timeouts={"late": 2},
    )
    command = there(commanded("command", "echo no luck; exit 7"), host)
    ended = await runner.run(
        *(stays(name, build, host) for name, build in builds.items()),
        command,
        *(
            away(f"uses-{name}", f"ls $PIKACI_INPUT_{name.upper()}", host, needs=[name])
            for name in (*builds, "command")
        ),
    )
    kind, code, message = cause_of(ended, "uses-fails")
    assert (kind, code) == (FailureKind.TEST_FAILURE, "build_failed")
    assert "exit code 1" in (message or "")
    assert "fails> no luck\n" in ended.log("uses-fails")
    place = place_of(ended, "fails")
    assert (place.host, place.outcome, place.how, place.path) == (host.name, "failed", None, None)
    assert place.cause
    assert place.cause.code == "build_failed"

    assert cause_of(ended, "uses-late")[:2] == (FailureKind.TIMEOUT, "build_timed_out")
    await seen(lambda: not processes(marker))

    assert cause_of(ended, "uses-command") == (
        FailureKind.TEST_FAILURE,
        "host_command_failed",
        "prepare command exited with 7",
    )
    assert "command> no luck\n" in ended.log("uses-command")
    assert place_of(ended, "command").host == host.name

    # A manifest is checked on the host that has the output.
    assert ended.said("uses-good") == ["bin", "share"]
    kind, code, message = cause_of(ended, "uses-bad")
    assert (kind, code) == (FailureKind.TEST_FAILURE, "payload_invalid")
    assert "bin/run" in message
    assert place_of(ended, "bad").outcome == "failed"


async def test_what_a_run_needs_there_is_kept_from_that_hosts_collector(
    runner: Runner, host: FarHost
) -> None:
    builds = derive(copied="echo copied > $out", made="echo made > $out")
    go_on = host.work_dir / "go-on"
    wait = f"until [ -e {go_on} ]; do sleep 0.05; done"
    use = away("use", f"{wait}; cat $PIKACI_INPUT_COPIED $PIKACI_INPUT_MADE", host)
    use = use.with_(
        depends_on=["copied", "made"],
        execute=away("use", use.execute.command, needs=["copied", "made"]).execute,
    )
    running = asyncio.create_task(
        runner.run(built("copied", builds["copied"]), stays("made", builds["made"], host), use)
    )
    await seen(lambda: processes(str(go_on)), running)
    assert {str(root.readlink()) for root in gcroots(host)} == {
        build.out_path for build in builds.values()
    }
    await asyncio.to_thread(host.run, ["nix-collect-garbage"])
    go_on.touch()
    ended = await asyncio.wait_for(running, 60)
    assert ended.said("use") == ["copied", "made"]
    far = [
        place
        for name in builds
        for place in output_of(ended, name).places
        if place.host == host.name
    ]
    assert all(place.gc_root and f"{ended.record.run_id}--" in place.gc_root for place in far)
    assert gcroots(host) == []
    await asyncio.to_thread(host.run, ["nix-collect-garbage"])
    assert not any(is_valid_at(host, build.out_path) for build in builds.values())


async def test_jobs_on_several_hosts_share_what_is_built_once(
    runner: Runner, pair: list[FarHost], tmp_path: Path
) -> None:
    count = tmp_path / "count"
    build = derive(dep=f"echo built >> {count}; {RANDOM.format(MIB)}")["dep"]
    use = "sha256sum < $PIKACI_INPUT_DEP"
    jobs = [
        job("near", use, needs=["dep"]),
        *(away(host.name, use, host, needs=["dep"]) for host in pair),
    ]
    ended = await runner.run(built("dep", build), *jobs)
    assert ended.record.status is Status.PASSED
    assert len({ended.log(name).count("built") for name in ("near", "far1", "far2")}) == 1
    assert len({tuple(ended.said(name)) for name in ("near", "far1", "far2")}) == 1
    assert count.read_text() == "built\n"
    near, *far = output_of(ended).places
    assert near.how == "built"
    assert {place.host: place.how for place in far} == dict.fromkeys(("far1", "far2"), "copied")
    assert all(MIB < place.bytes_moved < 2 * MIB for place in far)


@pytest.mark.usefixtures("pair")
async def test_what_stays_on_a_host_is_made_on_each_that_needs_it(runner: Runner) -> None:
    build = derive(dep="echo made > $out")["dep"]
    labels = ("linux",)
    jobs = [away(name, f"sleep 1; {USE}", labels=labels, needs=["dep"]) for name in ("a", "b")]
    ended = await runner.run(stays("dep", build, labels=labels), *jobs)
    assert ended.said("a") == ended.said("b") == ["made"]
    assert {ended.job(name).host for name in ("a", "b")} == {"far1", "far2"}
    assert ways(ended) == {"far1": "built", "far2": "built"}
    assert not is_valid(build.out_path)


async def test_a_commands_outputs_are_on_the_host_of_its_jobs(
    runner: Runner, host: FarHost
) -> None:
    build = derive(made="echo from nix > $out")["made"]
    command = f"echo printed; hostname; cat {build.out_path} README > out"
    prepare = there(commanded("dep", command, needs=["made"]), host)
    use = away("use", "cat $PIKACI_INPUT_DEP/out; echo $PIKACI_INPUT_DEP", host, needs=["dep"])
    ended = await runner.run(built("made", build), prepare, use)
    place = place_of(ended)
    assert place.path
    assert ended.said("use") == ["from nix", "hello", place.path]
    assert f"dep> printed\ndep> {host.name}\n" in ended.log("use")
    assert (place.host, place.how, place.gc_root) == (host.name, "command", None)
    assert place.path.startswith(f"{host.work_dir}/runs/")
    assert not list(host.work_dir.glob("runs/*"))


def both_ways(host: FarHost | None = None, labels: tuple[str, ...] = ()) -> list[Any]:
    """A build that is copied to a host, one that is built there, and a job that uses each."""
    builds = derive(copied="echo copied > $out", stays="echo stays > $out")
    return [
        built("copied", builds["copied"]),
        stays("stays", builds["stays"], host, labels),
        *(
            away(f"uses-{name}", f"cat $PIKACI_INPUT_{name.upper()}", host, labels, needs=[name])
            for name in builds
        ),
    ]


async def test_a_host_without_nix_has_only_what_needs_none(
    bare_host: FarHost, runner: Runner, hosts_config: WriteHosts
) -> None:
    hosts_config(bare_host)
    prepare = there(commanded("dep", "echo made > out"), bare_host)
    use = away("use", "cat $PIKACI_INPUT_DEP/out; command -v nix", bare_host, needs=["dep"])
    ended = await runner.run(prepare, use, *both_ways(bare_host))
    assert ended.said("use") == ["made"]
    for name in ("copied", "stays"):
        kind, _, message = cause_of(ended, f"uses-{name}")
        assert kind is FailureKind.INFRASTRUCTURE
        assert message == f"host {bare_host.name} has no `nix` on its PATH"
        places = output_of(ended, name).places
        assert [(row.outcome, row.how) for row in places][-1] == ("failed", None)


@pytest.mark.usefixtures("in_order")
@pytest.mark.parametrize("name", ["copied", "stays"])
async def test_a_host_whose_nix_is_too_old_is_passed_over(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts, name: str
) -> None:
    old, good = two_far_hosts
    programs = old.home / "old"
    programs.mkdir()
    calls = old.home / "calls"
    for program in ("nix", "nix-daemon"):
        text = f'#!/bin/sh\necho "{program} $@" >> {calls}\necho "{program} (Nix) 2.8.0"\n'
        (programs / program).write_text(text)
        (programs / program).chmod(0o755)
    extra = {"search_path": [str(programs)], "labels": ["linux"]}
    path = hosts_config(old)
    path.write_text(f"{old.hosts_toml(**extra)}\n{good.hosts_toml(labels=['linux'])}")
    nodes = [node for node in both_ways(labels=("linux",)) if node.id.endswith(name)]
    ended = await runner.run(*nodes)
    use = ended.job(f"uses-{name}")
    assert (ended.said(use.id), use.host) == ([name], good.name)
    (passed_over,) = use.passed_over
    assert (passed_over.host, passed_over.reason) == (
        old.name,
        f"host {old.name}: Nix 2.8.0 is too old",
    )
    assert {row.split()[1] for row in calls.read_text().splitlines()} == {"--version"}
    outcomes = {place.host: place.outcome for place in output_of(ended, name).places}
    assert (outcomes[old.name], outcomes[good.name]) == ("failed", "passed")


async def test_a_nix_there_that_fails_is_the_machines_fault(
    runner: Runner, host: FarHost, hosts_config: WriteHosts
) -> None:
    daemon = host.home / "nix-daemon"
    text = "#!/bin/sh\n[ $1 = --version ] && exec echo nix 2.18.0\necho out of order >&2; exit 1\n"
    daemon.write_text(text)
    daemon.chmod(0o755)
    hosts_config(host, search_path=[str(host.home)])
    ended = await runner.run(*both_ways(host))
    for name in ("copied", "stays"):
        kind, code, message = cause_of(ended, f"uses-{name}")
        assert (kind, code) == (FailureKind.INFRASTRUCTURE, "prepare_unavailable")
        assert message == (
            f"nothing can be copied to the Nix store of {host.name}:"
            " `nix-daemon --stdio` exited with 1 on the host: out of order"
        )


async def test_a_full_disk_there_is_said_in_nixs_own_words(runner: Runner, host: FarHost) -> None:
    host.run(["sh", "-c", "mkdir -p /nix; mount -t tmpfs -o size=4m tmpfs /nix"])
    try:
        build = derive(dep=RANDOM.format(8 * MIB))["dep"]
        ended = await runner.run(built("dep", build), away("use", USE, host, needs=["dep"]))
    finally:
        host.run(["umount", "--lazy", "/nix"])
    kind, _, message = cause_of(ended)
    assert kind is FailureKind.INFRASTRUCTURE
    assert "No space left on device" in message


async def test_a_copy_goes_on_where_the_line_broke(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    builds, use = many_paths(far_host)
    with Wire(far_host.address, far_host.port) as wire:
        hosts_config(far_host, address=wire.address, port=wire.port)
        running = asyncio.create_task(runner.run(built("dep", builds["dep"]), use))
        await seen(lambda: len(arrived(far_host, builds)) > 2, running)
        wire.cut()
        had = len(arrived(far_host, builds))
        wire.join()
        ended = await asyncio.wait_for(running, 90)
        assert wire.connections > 1
    assert ended.said("use") == [str(PATHS * PATH_BYTES)]
    assert had < PATHS
    moved = output_of(ended).places[1].bytes_moved
    assert PATHS * PATH_BYTES < moved < (2 * PATHS - had + 1) * PATH_BYTES


async def test_a_copy_outlives_a_line_on_which_everything_is_lost(
    runner: Runner, host: FarHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_quick(monkeypatch)
    builds, use = many_paths(host)
    running = asyncio.create_task(runner.run(built("dep", builds["dep"]), use))
    await seen(lambda: len(arrived(host, builds)) > 2, running)
    host.cut()
    had = len(arrived(host, builds))
    await asyncio.sleep(SILENCE_SECS)
    host.join()
    ended = await asyncio.wait_for(running, 90)
    assert ended.said("use") == [str(PATHS * PATH_BYTES)]
    assert had < PATHS


async def test_a_cancel_ends_a_copy_on_both_sides(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    builds, use = many_paths(far_host)
    with Wire(far_host.address, far_host.port) as wire:
        hosts_config(far_host, address=wire.address, port=wire.port)
        running = asyncio.create_task(runner.run(built("dep", builds["dep"]), use))
        await seen(lambda: len(arrived(far_host, builds)) > 2, running)
        wire.stall()
        await cancel(runner)
        await seen(lambda: not processes(builds["dep"].out_path), running)
        wire.resume()
        ended = await asyncio.wait_for(running, 60)
    assert ended.record.status is Status.CANCELLED
    await seen(lambda: not far_host.processes())
    assert len(arrived(far_host, builds)) < PATHS
    assert not list(far_host.work_dir.glob("runs/*"))
    near, far = output_of(ended).places
    assert (near.outcome, far.outcome) == ("passed", "cancelled")


async def test_a_cancel_ends_a_build_there(runner: Runner, host: FarHost, marker: str) -> None:
    build = derive(dep=f"sh -c 'sleep 600; : {marker}'")["dep"]
    use = away("use", USE, host, needs=["dep"])
    running = asyncio.create_task(runner.run(stays("dep", build, host), use))
    await seen(lambda: processes(marker), running)
    await cancel(runner)
    ended = await asyncio.wait_for(running, 60)
    assert ended.record.status is Status.CANCELLED
    assert place_of(ended).outcome == "cancelled"
    await seen(lambda: not host.processes())
    assert not processes(marker)


async def test_a_build_there_goes_on_while_the_line_is_broken(
    runner: Runner, host: FarHost, marker: str
) -> None:
    go_on = host.work_dir / "go-on"
    script = f"echo one; until [ -e {go_on} ]; do sleep 0.05; done; echo two {marker} | tee $out"
    build = derive(dep=script)["dep"]
    use = away("use", USE, host, needs=["dep"])
    running = asyncio.create_task(runner.run(stays("dep", build, host), use))
    await seen(lambda: processes(marker), running)
    await asyncio.to_thread(host.kill_sessions)
    go_on.touch()
    ended = await asyncio.wait_for(running, 60)
    assert ended.said("use") == [f"two {marker}"]
    assert [row for row in ended.log("use").splitlines() if row.startswith("dep> ")] == [
        "dep> one",
        f"dep> two {marker}",
    ]


def many_paths(host: FarHost) -> tuple[dict[str, NixBuild], ExecuteNode]:
    """Derivations of which `dep` needs all others, and a job that adds up how large they are."""
    names = [f"part{number}" for number in range(PATHS)]
    scripts = dict.fromkeys(names, RANDOM.format(PATH_BYTES)) | {"dep": "echo $needed > $out"}
    builds = derive(scripts, needs={"dep": names})
    use = away("use", "cat $(cat $PIKACI_INPUT_DEP) | wc -c", host, needs=["dep"])
    return builds, use


def arrived(host: FarHost, builds: dict[str, NixBuild]) -> list[str]:
    """Which of them are whole in the host's store."""
    store = host.nix_dir / "store"
    present = {path.name for path in store.iterdir()} if store.exists() else set()
    return [name for name, build in builds.items() if build.out_path.rpartition("/")[2] in present]


async def cancel(runner: Runner) -> None:
    (run,) = runner.state.runs.iterdir()
    (run / "cancel").touch()
