"""Opening a channel on a connection that may end just then."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def opened(opening: Awaitable[T]) -> T:
    """What asyncssh opens, or a `ConnectionError` where asyncssh stumbles.

    Where a connection is closed between the answer to the opening and the task that waits for it,
    asyncssh 2.24 takes the connection, or the session, to be there and finds None.
    """
    try:
        return await opening
    except (AssertionError, AttributeError) as error:
        raise ConnectionResetError("the connection was closed") from error
