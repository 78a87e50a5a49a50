"""What only root can do: tests that need it say so where they are run by another user."""

from __future__ import annotations

import os

import pytest


def only_root_can(what: str) -> None:
    """Skip this test where it can't do it."""
    if os.geteuid() != 0:
        pytest.skip(f"only root can {what}")
