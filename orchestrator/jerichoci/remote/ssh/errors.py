"""Why a host can't be connected to; every error knows the host's name.

HostError
├── HostUsageError              never worth another try: somebody must change something
│   ├── HostKeyError            the far end isn't known to be the host
│   ├── AuthenticationError     the host accepts no key of ours
│   ├── KeyFileError            the key to log in with can't be had
│   ├── HostSettingsError       ssh's configuration is wrong, or doesn't go with the host's
│   └── HostSetupError          what pikaci needs there isn't there
├── HostFullError               its disk is full, until somebody makes room
└── UnreachableHostError        may be over in a minute
    └── HostLostError           the connection broke, and what ran there is given up
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
    """What ssh's configuration says is wrong, or the far end has nothing in common with it."""


class HostSetupError(HostUsageError):
    """The host lacks what pikaci needs there, or its work directory can't be used."""


class HostFullError(HostError, InfrastructureError):
    """There is no room for what pikaci keeps on the host."""


class UnreachableHostError(HostError, HostUnavailableError):
    """The host, or a jump host before it, doesn't answer as an ssh server does."""


class HostLostError(UnreachableHostError):
    """The connection broke and did not come back in time, or came back to another agent."""
