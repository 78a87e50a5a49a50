"""A job on a remote host that reaches one address of that host's network and no other."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from e2e.conftest import bare_project, project

if TYPE_CHECKING:
    from e2e.project import Project
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

__all__ = ["bare_project", "project"]

TARGETS = """
  t.jobs.it = {
    placement = "remote_ssh"; host = "far1";
    network.allow = [ "@address@:@port@" ];
    command = ''
      get() { timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" && echo reached || echo no; }
      echo allowed $(get @address@ @port@)
      echo other $(get @address@ @other@)
      echo own $(get 127.0.0.1 @port@)
    '';
  };
"""


def test_it_holds_on_a_remote_host(
    project: Project, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    config = hosts_config(far_host).parent.parent
    placed = project.with_env(XDG_CONFIG_HOME=str(config))
    here = far_host.address.rpartition(".")
    us = f"{here[0]}.{int(here[2]) - 1}"
    with socket.create_server((us, 0)) as allowed, socket.create_server((us, 0)) as other:
        targets = TARGETS.replace("@address@", us)
        targets = targets.replace("@port@", str(allowed.getsockname()[1]))
        placed.define(targets.replace("@other@", str(other.getsockname()[1])))
        placed.run("t")
    said = [line for line in placed.log("it").splitlines() if line.endswith((" reached", " no"))]
    assert said == ["allowed reached", "other no", "own no"], placed.log("it")
