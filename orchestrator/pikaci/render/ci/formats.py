"""The formats of what is shown to people, and which of them a server reads."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pikaci.render.ci.markup import Markup


class LogFormat(StrEnum):
    """How a run is shown: `--log-format`."""

    AUTO = "auto"
    TTY = "tty"
    PLAIN = "plain"
    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"
    """Forgejo's and Gitea's."""
    TEAMCITY = "teamcity"


_SIGNS = (
    ("FORGEJO_ACTIONS", LogFormat.FORGEJO),
    ("GITEA_ACTIONS", LogFormat.FORGEJO),
    ("GITHUB_ACTIONS", LogFormat.GITHUB),
    ("GITLAB_CI", LogFormat.GITLAB),
    ("TEAMCITY_VERSION", LogFormat.TEAMCITY),
)
"""The variables that servers set. Forgejo and Gitea also set GITHUB_ACTIONS, so they come first."""


def chosen(wanted: LogFormat, environment: Mapping[str, str], *, is_terminal: bool) -> LogFormat:
    """The format that `auto` stands for here: a terminal's, a server's, or plain lines."""
    if wanted is not LogFormat.AUTO:
        return wanted
    if is_terminal:
        return LogFormat.TTY
    signs = (name for sign, name in _SIGNS if environment.get(sign, "") not in {"", "false", "0"})
    return next(signs, LogFormat.PLAIN)


def markup(log_format: LogFormat) -> Markup | None:
    """How a server wants its log; None for a terminal and plain lines."""
    match log_format:
        case LogFormat.GITHUB | LogFormat.FORGEJO:
            from pikaci.render.ci.actions import Actions

            return Actions()
        case LogFormat.GITLAB:
            from pikaci.render.ci.gitlab import GitLab

            return GitLab()
        case LogFormat.TEAMCITY:
            from pikaci.render.ci.teamcity import TeamCity

            return TeamCity()
        case _:
            return None
