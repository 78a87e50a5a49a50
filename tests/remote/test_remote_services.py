"""Services of jobs on a remote host: in the job's guest, and in guests of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from derivations import derive
from incus.server import debian_guest
from jerichoci.plan.services import Service
from jerichoci.status import Status
from plans import built

if TYPE_CHECKING:
    from remote.far_guests import FarGuests

START = """
cd /etc
[ -e /run/began ] || { : >/run/began; setsid -f python3 -m http.server 80 &>/dev/null; }
exec 3<>/dev/tcp/127.0.0.1/80
"""


async def test_services_run_where_their_job_does(far: FarGuests) -> None:
    files = debian_guest()
    made = derive(image=f"mkdir $out; cp {files}/metadata.tar.xz {files}/rootfs.squashfs $out")
    inside = Service(
        name="inside",
        command="cd $PIKACI_SERVICE_DIR; echo found >it; exec python3 -m http.server 8123",
        ready="exec 3<>/dev/tcp/127.0.0.1/8123",
        ready_secs=20,
    )
    beside = Service(name="beside", image="image", ready=START, ready_secs=20)
    command = """
      until [ -s /etc/resolv.conf ]; do sleep 0.1; done
      for url in http://localhost:8123/it http://beside/hostname; do
        python3 -c "import urllib.request as u; print(u.urlopen('$url').read().decode())"
      done
      test -z "$PIKACI_INPUT_IMAGE"
    """
    job = far.job("a", command, needs=["image"], services=[inside, beside])
    ended = await far.guests.run_here(built("image", made["image"]), job, wait_removal=True)
    assert ended.record.status is Status.PASSED, ended.job("a").cause
    assert far.guests.log() == "found\n\npikaci\n\n"
    far.assert_nothing_is_left()
    rows = json.loads(far.server.incus("network", "list", "--format=json"))
    assert [row["name"] for row in rows if row["name"].startswith("pikaci-")] == []
