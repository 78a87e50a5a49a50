"""Sending an image's files to an Incus daemon. Only this module imports pylxd.

pylxd is not on the way of a job to its guest: its import takes as long as what a guest is asked.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import pylxd
import requests
from pylxd import exceptions
from requests_toolbelt import MultipartEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.runtime.incus.rest import Rest


def upload(
    rest: Rest, metadata: Path, rootfs: tuple[str, Path], timeouts: tuple[float, float]
) -> str:
    """Send an image in two files, the second under a name of Incus's; its operation's URL."""
    # ws4py, which pylxd loads, logs what it does at INFO; urllib3 each connection.
    for name in ("ws4py", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    part, path = rootfs
    kind = "application/octet-stream"
    try:
        with metadata.open("rb") as head, path.open("rb") as body:
            form = MultipartEncoder(
                {"metadata": (metadata.name, head, kind), part: (path.name, body, kind)}
            )
            client = pylxd.Client(
                endpoint=f"http+unix://{quote(str(rest.socket), safe='')}",
                project=rest.project,
                timeout=timeouts,
            )
            answer = client.api.images.post(
                data=form,
                headers={"Content-Type": form.content_type, "X-Incus-public": "0"},
                timeout=timeouts,
            )
    except exceptions.LXDAPIException as error:
        rest.refuse(HTTPStatus(error.response.status_code), str(error))
    except (requests.RequestException, exceptions.ClientConnectionFailed) as error:
        rest.blame(error)
    return str(answer.json()["operation"])
