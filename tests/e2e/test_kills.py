"""A run gets a signal at a random moment, in a random process.

`bench/kills.py` does that by the hundred.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from killing import kill_once

if TYPE_CHECKING:
    from e2e.project import Project


@pytest.mark.parametrize("seed", range(6))
def test_whatever_gets_a_signal_the_record_is_right_and_nothing_is_left(
    project: Project, seed: int
) -> None:
    kill_once(project, random.Random(seed))  # noqa: S311 - can be repeated
