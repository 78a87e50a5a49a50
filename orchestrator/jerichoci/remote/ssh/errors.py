"""Why a host can't be connected to; every error knows the host's name.

HostError
├── HostUsageError              trying again is no use: something must be changed
│   ├── HostKeyError            the far end is not known to be the host
│   ├── AuthenticationError     the host accepts no key of ours
│   ├── KeyFileError            the key to log in with can't be used
│   ├── HostSettingsError       ssh's configuration is invalid, or has nothing in common with it
│   └── HostSetupError          the host lacks what pikaci needs
├── SilentSettingsError        ssh doesn't tell its configuration in time
├── HostFullError               its disk is full, until there is room again
└── UnreachableHostError        may be over in a minute
    └── HostLostError           the connection broke, and what ran on the host is given up
"""

from __future__ import annotations

from jerichoci.errors import HostUnavailableError, InfrastructureError, PikaciError, UsageError


class HostError(PikaciError):
    """A host can't be connected to."""

    def __init__(self, host: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.host = host
        """Its name; of a jump host's error, the host behind it."""


class HostUsageError(HostError, UsageError):
    """It can't be connected to as things are set up."""


class HostKeyError(HostUsageError):
    """The far end's key is unknown, revoked, or another than expected."""


class AuthenticationError(HostUsageError):
    """The far end accepts none of our keys."""


class KeyFileError(HostUsageError):
    """The file of the key to log in with is missing, unreadable or encrypted."""


class HostSettingsError(HostUsageError):
    """ssh's configuration is invalid, or the far end has nothing in common with it."""


class HostSetupError(HostUsageError):
    """The host lacks what pikaci needs there, or its work directory can't be used."""


class SilentSettingsError(HostError, InfrastructureError):
    """ssh doesn't tell its configuration in time: asked again at once, it wouldn't either."""


class HostFullError(HostError, InfrastructureError):
    """There is no room for pikaci's files on the host."""


class UnreachableHostError(HostError, HostUnavailableError):
    """The host, or a jump host before it, doesn't answer as an ssh server does."""


class HostLostError(UnreachableHostError):
    """The connection broke and did not come back in time, or came back to another agent."""
