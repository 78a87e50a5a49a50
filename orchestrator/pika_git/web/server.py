"""The HTTP server that an application is served by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from types import FrameType

    from pika_git.web.app import App


class Server(uvicorn.Server):
    """A server that ends its streams when a signal ends it, and whose process ends by itself."""

    def __init__(self, app: App) -> None:
        self._app = app
        deadlines = app.state.forge.settings.deadlines
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=deadlines.shutdown_secs,
            )
        )

    def stop(self) -> None:
        """End: streams at once, other answers when they are given."""
        self._app.stop()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal; uvicorn would send it once more to the process when it has ended."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()
        self.stop()
