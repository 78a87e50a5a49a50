"""Sinks that write in a thread each: a reader that doesn't read doesn't stop the run.

They write past Python's own buffers: a write may wait forever for a reader, and if it held a lock
of `sys.stdout` meanwhile, the program, which flushes stdout when it exits, would wait as well.
"""

from __future__ import annotations

import io
import json
import os
import queue
import select
import threading
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO

from jerichoci.errors import InfrastructureError
from jerichoci.record.event import EventBase, RunFinished, RunStarted
from jerichoci.record.journal import complain
from pikaci.batch import batch_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import ReadableBuffer

    Task = Callable[["View"], None]

WAITING_EVENTS = 100_000
"""More than a slow reader leaves waiting; beyond that the output is stopped."""
STALLED_SECS = 30.0
"""How long to wait, once the run is over, for a reader that reads nothing."""
TICK_SECS = 0.1
PIECE_BYTES = 64 * 1024
"""Of one write, after which it can be seen that the reader reads."""


class Out(io.FileIO):
    """An output by a descriptor of its own; as a file it is one that rich can print to."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(os.dup(stream.fileno()), "w")
        self.name = name
        self.encoding = stream.encoding or "utf-8"
        self.written = 0

    def write(self, data: str | ReadableBuffer) -> int:
        """Write all of it, however long the reader takes; what the encoding lacks is escaped."""
        if isinstance(data, str):
            data = data.encode(self.encoding, "backslashreplace")
        rest = memoryview(data)
        while rest:
            count = super().write(rest[:PIECE_BYTES])
            if count is None:
                # Another process that shares the output made it non-blocking.
                select.select([], [self], [])
                continue
            self.written += count
            rest = rest[count:]
        return len(memoryview(data))


class View:
    """Shows events, in a feed's thread."""

    def emit(self, event: EventBase) -> None:
        """Show one event."""
        raise NotImplementedError

    def stopping(self) -> None:
        """Show that the run is being stopped."""

    def tick(self) -> None:
        """Show changes that have no event."""

    def live(self) -> AbstractContextManager[object]:
        """What is open while the view shows events."""
        return nullcontext()


class JsonLines(View):
    """Prints each event as a line of JSON in UTF-8, exactly as events.jsonl has it."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        values = event.model_dump()
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        self._out.write(text.encode("utf-8", "surrogateescape") + b"\n")


class FinalRecords(View):
    """Prints the record of the run, or of a batch the records of all its runs, when it is over."""

    def __init__(self, out: Out, *, batch: str | None) -> None:
        self._out = out
        self._batch = batch
        self._records: dict[str, dict[str, Any] | None] = {}
        """By the ids of runs, in the order in which they began; None until the end."""

    def emit(self, event: EventBase) -> None:
        """Keep the record of a run that is over."""
        if isinstance(event, RunStarted):
            self._records[event.run_id] = None
        elif isinstance(event, RunFinished):
            self._records[event.run_id] = event.run.model_dump()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Print what is kept when the last event has been shown."""
        yield
        records = [record for record in self._records.values() if record is not None]
        for found in [batch_values(self._batch, records)] if self._batch else records:
            text = json.dumps(found, ensure_ascii=False, indent=2)
            self._out.write(text.encode("utf-8", "surrogateescape") + b"\n")


class Feed:
    """Hands events to a view in a thread of the view's own, and never waits for it."""

    def __init__(self, out: Out, view: Callable[[Out], View]) -> None:
        self._out = out
        self._view = view
        self._tasks: queue.Queue[Task | None] = queue.Queue(WAITING_EVENTS)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"pikaci-{out.name}", daemon=True)
        self._thread.start()

    def emit(self, event: EventBase) -> None:
        """Let the view show an event."""
        self._put(lambda view: view.emit(event))

    def stopping(self) -> None:
        """Let the view show that the run is being stopped."""
        with suppress(InfrastructureError):
            self._put(lambda view: view.stopping())

    def close(self) -> None:
        """Wait until all is written, as long as the reader reads."""
        self._closing.set()
        with suppress(queue.Full):
            self._tasks.put_nowait(None)
        written = -1
        while self._thread.is_alive() and written != self._out.written:
            written = self._out.written
            self._thread.join(STALLED_SECS)
        if self._thread.is_alive():
            complain(f"{self._out.name} is not being read; the last output was dropped")

    def _put(self, task: Task) -> None:
        if not self._thread.is_alive():
            return
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            raise InfrastructureError(f"{self._out.name} is not being read") from None

    def _work(self) -> None:
        try:
            view = self._view(self._out)
            with view.live():
                self._show(view)
        except BrokenPipeError:
            pass  # The reader closed it on purpose.
        except Exception as error:  # noqa: BLE001 - the run continues without this output
            complain(f"stopped writing to {self._out.name}: {error or type(error).__name__}")
        finally:
            self._out.close()

    def _show(self, view: View) -> None:
        due = 0.0
        while True:
            try:
                task = self._tasks.get(timeout=TICK_SECS)
            except queue.Empty:
                if self._closing.is_set():
                    return
            else:
                if task is None:
                    return
                task(view)
            now = time.monotonic()
            if now >= due:
                view.tick()
                due = now + TICK_SECS
