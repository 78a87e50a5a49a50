"""A job in a guest that reaches some addresses of its bridge and no others."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import finish, wait_for
from far_servers import ip
from incus.guest_project import assert_nothing_is_left, ending, make_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.project import Project
    from incus.server import IncusServer

KNOWN = "127.0.0.1 localhost\n10.77.6.{} cache.test\n10.77.6.3 other.test\n"
TARGETS = """
  allowed.jobs.job = {
    runtime = "incus";
    incus = { role = "runner"; network = "@bridge@"; };
    network.allow = [ "cache.test:8077" "[fd77:6::2]:8077" ];
    runAsRoot = true;
    timeoutSecs = 90;
    command = ''
      get() { timeout 1.5 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null && echo reached || echo no; }
      ip address add 10.77.6.9/24 dev eth0
      ip -6 address add fd77:6::9/64 dev eth0 nodad
      echo name $(get cache.test 8077)
      echo address $(get 10.77.6.2 8077)
      echo port $(get cache.test 8078)
      echo other $(get 10.77.6.3 8077)
      echo unnamed $(get other.test 8077)
      echo six $(get fd77:6::2 8077)
      echo other-six $(get fd77:6::3 8077)
      echo asked
      until grep -q 10.77.6.4 /etc/hosts; do sleep 0.2; done
      echo moved $(get cache.test 8077)
      ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:77; ip link set eth0 up
      ip address add 10.77.6.10/24 dev eth0
      echo another $(get 10.77.6.3 8077)
    '';
  };
  waits.jobs.waits = {
    runtime = "incus";
    incus = { role = "runner"; network = "@bridge@"; };
    network.allow = [ "cache.test:8077" ];
    command = "echo waiting; sleep 300";
  };
"""
ADDRESSES = ("10.77.6.2", "10.77.6.3", "10.77.6.4", "fd77:6::2", "fd77:6::3")


@pytest.fixture(scope="module")
def project(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    targets = TARGETS.replace("@bridge@", incus_server.bridge)
    return make_project(tmp_path_factory.mktemp("allowed"), incus_server, targets)


@pytest.fixture(scope="module")
def _servers(incus_server: IncusServer) -> Iterator[None]:
    Path(f"/proc/sys/net/ipv6/conf/{incus_server.bridge}/disable_ipv6").write_text("0")
    with ExitStack() as stack:
        for address in ADDRESSES:
            words = (f"{address}/64", "nodad") if ":" in address else (f"{address}/24",)
            ip("address", "add", *words, "dev", incus_server.bridge)
            stack.callback(ip, "address", "delete", words[0], "dev", incus_server.bridge)
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for port in (8077, 8078):
                stack.enter_context(socket.create_server((address, port), family=family))
        yield


def tables() -> list[str]:
    said = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return [line.split()[2] for line in said.stdout.splitlines() if "pikaci_" in line]


def said(project: Project) -> str:
    logs = project.state.glob("runs/*/jobs/*/attempts/1/guest.log")
    return "".join(log.read_text() for log in logs)


def start(project: Project, hosts: Path, target: str) -> subprocess.Popen[bytes]:
    """A run of a machine that knows the hosts of a file."""
    script = f'mount --bind {hosts} /etc/hosts; exec "$@"'
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", *project.argv("run", target)],
        cwd=project.root,
        env=project.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.usefixtures("_servers")
def test_it_holds_by_name_and_port_over_ipv6_and_after_the_name_has_moved(
    project: Project, incus_server: IncusServer, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(KNOWN.format(2))
    with ending(start(project, hosts, "allowed")) as running:
        wait_for(lambda: running.poll() is not None or "asked" in said(project), 90)
        hosts.write_text(KNOWN.format(4))
        done = finish(running)
    lines = [line for line in said(project).splitlines() if "pikaci>" not in line]
    log = dict(line.partition(" ")[::2] for line in lines)
    assert done.code == 0, f"{done.err}\n{log}"
    reached = {word for word, said in log.items() if said == "reached"}
    assert reached == {"name", "address", "six", "moved"}, log
    assert tables() == []
    assert_nothing_is_left(incus_server, project.state, departing=True)


@pytest.mark.usefixtures("_servers")
def test_it_holds_after_its_run_was_killed_until_reap_removes_it(
    project: Project, incus_server: IncusServer, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(KNOWN.format(2))
    with ending(start(project, hosts, "waits")) as running:
        wait_for(
            lambda: [it for it in project.state.rglob("guest.log") if "waiting" in it.read_text()],
            90,
        )
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert len(tables()) == 1, running.communicate()
    project.here("reap").passed()
    assert incus_server.instances() == []
    assert tables() == []
