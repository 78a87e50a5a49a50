from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from jerichoci.machine.signals import catching_ignored

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ignored() -> Iterator[signal.Signals]:
    """A signal that this process ignores."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    yield signal.SIGQUIT
    signal.signal(signal.SIGQUIT, before)


def killed_by_itself(number: signal.Signals) -> bool:
    done = subprocess.run(["sh", "-c", f"kill -{number} $$"], check=False)
    return done.returncode == -number


def test_what_is_ignored_here_and_again_afterwards_is_not_ignored_by_what_is_started(
    ignored: signal.Signals,
) -> None:
    assert not killed_by_itself(ignored)
    with catching_ignored():
        assert killed_by_itself(ignored)
        os.kill(os.getpid(), ignored)
    assert signal.getsignal(ignored) is signal.SIG_IGN


def test_what_a_terminal_would_send_again_for_good_stays_ignored() -> None:
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with catching_ignored():
        assert signal.getsignal(signal.SIGTTOU) is signal.SIG_IGN
    signal.signal(signal.SIGTTOU, before)
