"""Jobs in guests of a real Incus, run by the program: what they see, how they end, what is left."""

from __future__ import annotations

import hashlib
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, wait_for
from incus.guest_project import (
    USER,
    Json,
    assert_nothing_is_left,
    let_go,
    make_project,
    outbox,
    started,
    until,
)
from records import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from incus.server import IncusServer

OUTPUT_BYTES = 50 * 2**20
LONG = 90_000, 120_000
"""Bytes of a command that fits into a variable of the runner's, and of one that doesn't."""

PASS = ("passes", "root", "writable", "read-only", "inputs", "long", "longer", "hostile")
TARGETS = r"""
  jobs =
    let
      guest = job: { runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; } // job;
      pad = builtins.concatStringsSep "" (builtins.genList (_: "0123456789") 1000);
      repeat = count: builtins.concatStringsSep "" (builtins.genList (_: pad) count);
    in
    {
      prepare = {
        stored.drv = build "stored" "echo from the store > $out";
        placed = {
          drv = build "placed" "echo placed > $out";
          guestPath = "/opt/placed";
        };
        payload.drv = build "payload" ''
          mkdir -p $out/share/pikaci $out/bin
          echo tool > $out/bin/tool
          cat > $out/share/pikaci/payload-manifest.json <<END
          {"schema_version": 1, "kind": "tools", "mounts": [
            {"name": "bin", "relative_path": "bin", "guest_path": "/opt/tools", "read_only": true}
          ]}
          END
        '';
        unused.drv = build "unused" "echo unused > $out";
        commanded.hostCommand = {
          command = "cp README made; echo more >> made";
          outputs = [ "made" ];
        };
      };
      jobs = builtins.mapAttrs (_: guest) {
        passes.command = ''
          echo hello; echo err >&2; id -un; pwd; cat README
          ls -A /nix/store 2>/dev/null | wc -l; ls /sys/class/net
          cd "$PIKACI_ARTIFACTS"; mkdir -p deep/er; echo text > deep/er/file
          echo run > program; chmod 777 program
        '';
        fails.command = "echo why; exit 7";
        killed = { command = "kill -SEGV $$"; retries.test = 1; };
        late = { command = "echo before; sleep 60; echo after"; timeoutSecs = 1; };
        root = { command = "id -u; touch /etc/mine; touch new"; runAsRoot = true; };
        writable.command = "rm README; mkdir README; touch README/new; chmod 700 .; ls -R";
        read-only = {
          command = "id -u; touch /etc/mine || touch new || echo refused; cat README";
          writableWorkspace = false;
        };
        inputs = {
          needs = [ "stored" "placed" "payload" "commanded" ];
          command = ''
            cat "$PIKACI_INPUT_STORED" "$PIKACI_INPUT_PLACED" "$PIKACI_INPUT_PAYLOAD"/bin/tool
            cat "$PIKACI_INPUT_COMMANDED"/made /opt/tools/tool
            echo "$PIKACI_INPUT_STORED" "$PIKACI_INPUT_PLACED" "$PIKACI_INPUT_COMMANDED"
            for path in "$PIKACI_INPUT_STORED" /opt/placed /opt/tools/tool /nix/store/x; do
              (echo x > "$path") 2>/dev/null && echo "$path can be written"
            done
            ls /nix/store
          '';
        };
        tries-again = { command = "exit 75"; retries.infrastructure = 1; };
        long = {
          env.QUOTES = "a \"b\" 'c' $HOME `d` \\";
          env.LINES = "one\ntwo\n";
          env.WORD = "grün → 日本";
          command = ''
            text=${repeat 9}; echo ''${#text}
            printf '%s|' "$QUOTES" "$LINES" "$WORD"; echo "''${HOST_ONLY-unset}"
          '';
        };
        longer.command = "text=${repeat 12}; echo \${#text}";
        floods.command = ''printf 'a\377\376\000b\n'; yes 0123456789abcde | head -c @bytes@'';
        hostile = {
          runAsRoot = true;
          command = ''
            cd "$PIKACI_ARTIFACTS"
            cp /bin/true setuid; chmod 6777 setuid
            echo secret > unreadable; chmod 0 unreadable
            ln -s /etc/shadow link; ln -s / up; mkfifo fifo
            mknod device c 1 3 2>/dev/null || true
            python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
            mkdir closed; echo inside > closed/file; chmod 0 closed
            python3 - <<'END'
            import os
            for _ in range(150):
                os.mkdir("d"); os.chdir("d")
            open("bottom", "w").write("deep")
            END
            echo kept > file; chattr +i file 2>/dev/null || true
            ln -s /etc/shadow ../stray; rm -f ../events.jsonl; ln -s /etc/shadow ../events.jsonl
          '';
        };
      };
    };
"""


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    project: Project
    server: IncusServer
    code: int

    def job(self, name: str) -> Json:
        rows: dict[str, Json] = {row["id"]: row for row in self.project.record()["jobs"]}
        return rows[name]

    def data(self, name: str) -> bytes:
        """What the job printed."""
        path: Path = self.project.run_dir() / self.job(name)["guest_log_path"]
        return path.read_bytes()

    def said(self, name: str) -> list[str]:
        return self.data(name).decode().splitlines()

    def kept(self, name: str) -> Path:
        """Where the job's artifacts are."""
        return (
            self.project.run_dir() / f"jobs/{name}/attempts/{self.job(name)['attempt']}/artifacts"
        )


@pytest.fixture(scope="module")
def ended(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """All of these jobs in one run, as many at a time as the machine has room for."""
    directory = tmp_path_factory.mktemp("jobs")
    targets = TARGETS.replace("@bytes@", str(OUTPUT_BYTES))
    project = make_project(directory, incus_server, targets).with_env(HOST_ONLY="host")
    done = finish(project.start("run", "jobs", "--output", "json"))
    assert done.out, done
    yield Ended(project, incus_server, done.code)
    # What is as deep as that, others can't remove.
    project.here("gc", "--keep-runs=0").passed()


@pytest.mark.parametrize(
    ("name", "end"),
    [
        *((name, ("passed", None, 0)) for name in PASS),
        ("fails", ("failed", "test_failure", 7)),
        ("killed", ("failed", "test_failure", 128 + 11)),
        ("tries-again", ("failed", "infrastructure", 75)),
    ],
)
def test_a_job_ends_as_its_command_does(
    ended: Ended, name: str, end: tuple[str, str | None, int]
) -> None:
    row = ended.job(name)
    assert (row["status"], row["failure_kind"], row["exit_code"]) == end


def test_what_a_job_prints_is_its_log(ended: Ended) -> None:
    assert ended.said("passes")[:5] == ["hello", "err", "pikaci", "/workspace/snapshot", "hello"]
    assert ended.said("fails") == ["why"]
    expected = b"a\xff\xfe\x00b\n" + b"0123456789abcde\n" * (OUTPUT_BYTES // 16)
    assert hashlib.sha256(ended.data("floods")).digest() == hashlib.sha256(expected).digest()


def test_its_record_says_where_it_ran(ended: Ended) -> None:
    execution = ended.job("passes")["execution"]
    image = ended.server.incus("image", "info", ended.server.image_alias)
    assert execution["project"] == ended.server.project
    assert execution["image_alias"] == ended.server.image_alias
    assert f"Fingerprint: {execution['image_fingerprint']}" in image
    assert execution["instance"].startswith("pikaci-")
    assert "-passes-" in execution["instance"]
    assert execution["instance_type"] == "container"
    assert execution["pool"] == ended.server.pool
    assert execution["removal"] == "handed_over"


def test_its_phases_are_recorded_and_told_in_order(ended: Ended) -> None:
    row = ended.job("passes")
    assert [phase["phase"] for phase in row["phases"]] == PHASES
    assert {phase["outcome"] for phase in row["phases"]} == {"passed"}
    told = [
        (event["phase"], event["outcome"])
        for event in ended.project.events()
        if event["event"] == "job_phase" and event["job_id"] == "passes"
    ]
    assert told == [(name, outcome) for name in PHASES for outcome in ("started", "passed")]
    # What the runner did is kept, too.
    assert '"status": "passed"' in (ended.kept("passes") / "result.json").read_text()
    assert "command_finished" in (ended.kept("passes") / "events.jsonl").read_text()


def test_a_late_command_is_a_timeout_with_its_whole_log(ended: Ended) -> None:
    late = ended.job("late")
    assert (late["status"], late["failure_kind"]) == ("failed", "timeout")
    assert ended.said("late") == ["before"]
    assert late["attempt"] == 1


def test_a_job_is_root_or_may_not_write_only_if_it_says_so(ended: Ended) -> None:
    assert ended.said("root") == ["0"]
    assert "new" in ended.said("writable")
    said = [line for line in ended.said("read-only") if not line.startswith("touch: ")]
    assert said == [str(USER), "refused", "hello"]


def test_the_snapshot_on_the_host_stays_as_it_was(ended: Ended) -> None:
    snapshot = ended.project.state / "snapshots" / ended.project.record()["snapshot_id"]
    assert (snapshot / "README").read_text() == "hello\n"
    assert {path.name for path in snapshot.iterdir()} == {
        path.name for path in ended.project.root.iterdir() if path.name != ".git"
    }


def test_prepared_outputs_are_where_the_plan_says(ended: Ended) -> None:
    said = ended.said("inputs")
    assert said[:6] == ["from the store", "placed", "tool", "hello", "more", "tool"]
    stored, placed, commanded = said[6].split()
    assert stored.startswith("/nix/store/")
    assert placed == "/opt/placed"
    assert commanded == "/staged/commanded"
    assert not any("can be written" in line for line in said)


def test_a_job_sees_no_more_of_the_host_than_it_asks_for(ended: Ended) -> None:
    names = [name.partition("-")[2] for name in ended.said("inputs")[7:]]
    assert sorted(names) == ["payload", "placed", "stored"]
    assert ended.said("passes")[5:] == ["0", "lo"]  # of the store, and of networks


def test_a_job_is_tried_again_if_it_asks_or_the_plan_does(ended: Ended) -> None:
    attempts = ended.job("tries-again")["attempts"]
    assert [row["number"] for row in attempts] == [1, 2]
    assert len({row["execution"]["instance"] for row in attempts}) == 2
    assert ended.job("killed")["attempt"] == 2
    assert ended.job("fails")["attempt"] == 1


def test_variables_and_long_commands_arrive_as_they_are(ended: Ended) -> None:
    values = "a \"b\" 'c' $HOME `d` \\|one\ntwo\n|grün → 日本|unset\n"
    assert ended.data("long").decode() == f"{LONG[0]}\n{values}"
    assert ended.said("longer") == [str(LONG[1])]


def test_artifacts_are_recorded_and_keep_of_their_modes_whether_they_are_executable(
    ended: Ended,
) -> None:
    files = ended.kept("passes") / "files"
    rows = {row["path"]: row for row in ended.job("passes")["artifacts"]}
    assert sorted(rows) == ["deep/er/file", "program"]
    assert rows["deep/er/file"]["sha256"] == hashlib.sha256(b"text\n").hexdigest()
    assert stat.S_IMODE((files / "program").stat().st_mode) == 0o755
    assert (files / "program").stat().st_uid == 0


def test_what_a_hostile_job_leaves_does_no_harm(ended: Ended) -> None:
    kept = ended.kept("hostile")
    rows = [row["path"] for row in ended.job("hostile")["artifacts"]]
    deep = "d/" * 150 + "bottom"
    assert sorted(rows) == sorted(["setuid", "unreadable", "closed/file", "file", deep])
    assert not (kept / "events.jsonl").exists()
    listing = subprocess.run(
        ["find", str(kept), "!", "-type", "d", "!", "-type", "f"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listing.stdout == ""
    assert stat.S_IMODE((kept / "files/setuid").stat().st_mode) == 0o755
    assert (kept / "files/unreadable").read_text() == "secret\n"


def test_nothing_is_left_of_all_these_jobs(ended: Ended) -> None:
    ended.project.here("reap").passed()
    assert_nothing_is_left(ended.server, ended.project.state)


def test_a_guest_has_its_network_limits_and_labels_while_it_runs(
    incus_server: IncusServer, tmp_path: Path
) -> None:
    targets = rf"""
      wired.jobs.it = {{
        runtime = "incus";
        incus = {{ role = "runner"; network = "{incus_server.bridge}"; }};
        resources = {{ cpus = 1; memoryMib = 300; }};
        command = ''
          until ip -4 address show eth0 | grep -q 'inet 10\.'; do sleep 0.05; done
          cd /sys/fs/cgroup; ls /sys/class/net; nproc
              cat memory.max memory/memory.limit_in_bytes 2>/dev/null
          {until("go")}
        '';
        timeoutSecs = 60;
      }};
    """
    project = make_project(tmp_path, incus_server, targets)
    with started(project, "run", "wired", "--output", "json", "--wait-removal") as running:
        (run_id,) = wait_for(project.run_ids)
        log = project.state / f"runs/{run_id}/jobs/it/attempts/1/guest.log"
        wait_for(lambda: log.exists() and log.read_text().count("\n") == 3)
        (name,) = incus_server.instances()
        labels = [
            incus_server.incus("config", "get", name, f"user.pikaci.{key}").strip()
            for key in ("run_id", "job_id", "owner")
        ]
        memory = memory_limit(name) if incus_server.limits_guests else None
        let_go(project.state, "it", run_id)
        finish(running).passed()

    owner = (project.state / "owner-id").read_text().strip()
    assert labels == [run_id, "it", owner]
    *links, cpus = log.read_text().split()
    assert links == ["eth0", "lo"]
    if incus_server.limits_guests:
        assert (cpus, memory) == ("1", 300 * 2**20)
    assert_nothing_is_left(incus_server, project.state)


def test_the_log_can_be_followed_while_the_job_runs(
    incus_server: IncusServer, tmp_path: Path
) -> None:
    steps = f"echo first; {until('second')}; echo second; {until('third')}; echo third"
    targets = f"""
      slow.jobs.it = {{
        runtime = "incus"; incus.role = "runner"; command = ''{steps}''; timeoutSecs = 60;
      }};
    """
    project = make_project(tmp_path, incus_server, targets)
    with started(project, "run", "slow") as running:
        (run_id,) = wait_for(project.run_ids)
        wait_for((outbox(project.state, "it", run_id) / "files").is_dir)
        with started(project, "logs", run_id, "--follow", "--kind", "guest") as following:
            assert following.stdout
            lines = iter(following.stdout)
            assert next(lines).endswith(b"first\n")
            let_go(project.state, "it", run_id, "second")
            assert next(lines).endswith(b"second\n")
            let_go(project.state, "it", run_id, "third")
            assert [line.split()[-1] for line in lines] == [b"third"]
        finish(running).passed()


def memory_limit(instance: str) -> int:
    """What the kernel limits an instance to, whichever version its cgroups have."""
    pattern = f"**/lxc.payload.*{instance}/memory.{{}}"
    (limit,) = (
        path
        for name in ("max", "limit_in_bytes")
        for path in Path("/sys/fs/cgroup").glob(pattern.format(name))
    )
    return int(limit.read_text())
