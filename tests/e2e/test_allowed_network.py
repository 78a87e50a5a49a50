"""A job that reaches some addresses and no others: by a name that moves, and over IPv6."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, wait_for
from far_servers import far_servers
from jerichoci.network import host_gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root makes cables")
GET = """
get() {
  python3 - "$1" <<'EOF'
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=4).read().decode().strip())
except OSError as error:
    print("no", getattr(error, "reason", error))
EOF
}
"""
TARGETS = """
  allowed.jobs.job = {
    network.allow = [ "cache.test:80" "[fd77:5::2]:80" ];
    services.web = {
      command = "exec python3 -m http.server --bind 127.0.0.1 8099";
      ready = "true </dev/tcp/127.0.0.1/8099";
    };
    command = builtins.readFile ./job.sh;
    timeoutSecs = 120;
  };
  lacking.jobs.job = { network.allow = [ "cache.test:80" ]; command = "true"; };
"""
JOB = f"""{GET}
echo name $(get http://cache.test/)
echo port $(get http://cache.test:81/)
echo other $(get http://10.77.5.3/)
echo unnamed $(get http://other.test/)
for turn in 1 2 3 4 5 6 7 8 9 10; do
  six=$(get http://[fd77:5::2]/)
  [ "${{six#no}}" = "$six" ] && break || sleep 0.5
done
echo six $six
echo other-six $(get http://[fd77:5::3]/)
echo host $(get http://10.77.5.1:80/)
! nft flush ruleset && echo held
(exec 3<>/dev/tcp/127.0.0.1/8099) && echo service
echo asked
for turn in $(seq 40); do
  name=$(get http://cache.test/)
  [ "$name" = "at 10.77.5.2" ] || break
  sleep 0.5
done
echo moved $name
"""


@pytest.fixture(scope="module")
def _far() -> Iterator[None]:
    there = ["10.77.5.2/24", "10.77.5.3/24", "10.77.5.4/24", "fd77:5::2/64", "fd77:5::3/64"]
    with far_servers("pkfar5", ["10.77.5.1/24", "fd77:5::1/64"], there, [80, 81]):
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.below(tmp_path_factory.mktemp("allowed"))
    project.write("job.sh", JOB)
    project.define(TARGETS)
    return project


def said(project: Project) -> str:
    logs = project.state.glob("runs/*/jobs/*/attempts/1/host.log")
    return "".join(log.read_text() for log in logs)


@pytest.mark.usefixtures("_far")
def test_it_holds_by_name_and_port_over_ipv6_and_after_the_name_has_moved(
    project: Project, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    known = "127.0.0.1 localhost\n10.77.5.{} cache.test\n10.77.5.3 other.test\n"
    hosts.write_text(known.format(2))
    script = f'mount --bind {hosts} /etc/hosts; exec "$@"'
    running = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", *project.argv("run", "allowed")],
        cwd=project.root,
        env=project.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: running.poll() is not None or "asked" in said(project))
    hosts.write_text(known.format(4))
    done = finish(running)
    lines = [line for line in project.log("job").splitlines() if "pikaci>" not in line]
    log = dict(line.partition(" ")[::2] for line in lines)
    assert done.code == 0, f"{done.err}\n{log}"
    assert (log["name"], log["six"], log["moved"]) == (
        "at 10.77.5.2",
        "at fd77:5::2",
        "at 10.77.5.4",
    )
    for refused in ("port", "other", "unnamed", "other-six", "host"):
        assert log[refused].startswith("no "), log
    assert "held" in log
    assert "service" in log


def test_a_host_without_the_programs_refuses(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_gate, "TOOLS", ("sh", "no-such-nft", "no-such-slirp"))
    assert (
        "`network.allow` needs no-such-nft, no-such-slirp on" in project.here("run", "lacking").err
    )
