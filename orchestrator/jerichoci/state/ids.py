"""Ids from outside, validated before they touch a path.

Targets, jobs, prepares, lanes and roles share one grammar; run ids have their own, which sorts by
time.
"""

from __future__ import annotations

import os
import re
import time

from jerichoci.errors import UsageError

ID_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
RUN_ID_PATTERN = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"

_ID = re.compile(ID_PATTERN)
_RUN_ID = re.compile(RUN_ID_PATTERN)
_RUN_ID_PREFIX = re.compile(r"[0-9][0-9TZa-f-]{0,24}")


def is_run_id(text: str) -> bool:
    """Whether `text` has a run id's grammar."""
    return _RUN_ID.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether `text` has the grammar of a target, job, prepare, lane or role id."""
    return _ID.fullmatch(text) is not None


def check_run_id(text: str) -> str:
    """Return `text` if it is a run id."""
    if not is_run_id(text):
        raise UsageError(
            f"{text!r} is not a run id", "a run id looks like 20260131T235959Z-0123abcd"
        )
    return text


def check_run_id_prefix(text: str) -> str:
    """Return `text` if some run id could start with it."""
    if _RUN_ID_PREFIX.fullmatch(text) is None:
        raise UsageError(
            f"{text!r} is not a run id or the beginning of one",
            "say `latest`, or take an id from `pikaci list`",
        )
    return text


def check_id(text: str, what: str) -> str:
    """Return `text` if it is an id; `what` names it in the error (`target`, `job`)."""
    if not is_id(text):
        raise UsageError(
            f"{text!r} is not a {what} id",
            "ids are lower-case letters, digits, `-` and `_`, at most 64, and start with a letter"
            " or digit",
        )
    return text


def owner_part(owner_id: str) -> str:
    """What names have of the id of a state root's owner."""
    return owner_id.replace("-", "")[:12]


def prepare_name(node_id: str, prepare_id: str | None) -> str:
    """A prepare's id for people and in logs: its author's, if that isn't how pikaci's lines begin.

    What only a text of the catalog mentions has no author's id.
    """
    return node_id if prepare_id in {None, "", "pikaci"} else str(prepare_id)


def new_run_id(now: float | None = None) -> str:
    """Make a run id from the time `now` (seconds since the epoch; the clock's if None).

    Half of the digits are the second's fraction, so that runs of one second sort by time as well.
    """
    seconds, fraction = divmod(time.time() if now is None else now, 1)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    return f"{stamp}-{int(fraction * 0x10000):04x}{os.urandom(2).hex()}"
