"""Import directions and what comes along at import time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from invariants.checkout import Checkout

HERE = "orchestrator/engine/deep/here.py"
ALL = ["orchestrator/**/*.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import front",
        "import front.cli as cli",
        "import json, front.cli",
        "from front import cli",
        "from front.cli import main",
        "def f():\n    from front import cli",
        "async def f():\n    import front",
        "try:\n    import front\nexcept ImportError:\n    pass",
        "if TYPE_CHECKING:\n    from front import cli",
        "import importlib\nimportlib.import_module('front.cli')",
        "from importlib import import_module\nimport_module('front')",
        "__import__('front')",
        "import_module(f'front.commands.{name}')",
        "from ...front import cli",
        "from ... import front",
    ],
)
def test_a_forbidden_import_is_seen(empty: Checkout, source: str) -> None:
    empty.write(HERE, source)
    ((file, line, what),) = empty.rule("import-direction", ALL, forbid=["front"]).found()
    assert (file, line) == (HERE, max(1, source.count("\n") + 1 - source.count("except") * 2))
    assert what.startswith("imports ")
    assert "front" in what


@pytest.mark.parametrize(
    "source",
    ["import frontal", "from . import front", "import_module(name)", "'import front'", "front = 1"],
)
def test_what_only_looks_like_it_is_not(empty: Checkout, source: str) -> None:
    empty.write(HERE, source)
    assert empty.rule("import-direction", ALL, forbid=["front"]).found() == []


def test_python_that_cannot_be_read_is_told(empty: Checkout) -> None:
    empty.write(HERE, "x = 1\ndef f(:\n")
    ((file, line, what),) = empty.rule("import-direction", ALL, forbid=["front"]).found()
    assert (file, line) == (HERE, 2)
    assert what.startswith("not Python")


LAYERS = ["top", "mid", "mid.low", "base"]


def arrows(empty: Checkout) -> list[tuple[str, int, str]]:
    """What is wrong below orchestrator/, without the paths that all have in common."""
    found = empty.rule("arrows", ALL, layers=LAYERS).found()
    return [(file.removeprefix("orchestrator/"), line, what) for file, line, what in found]


@pytest.fixture
def layered(empty: Checkout) -> Checkout:
    """A package of each layer, whose imports run down."""
    empty.write("orchestrator/top/a.py", "from mid import a\nfrom base.a import x\nimport json\n")
    empty.write("orchestrator/mid/a.py", "import mid.low.a\n")
    empty.write("orchestrator/mid/low/a.py", "def f():\n    from base import a\n")
    empty.write("orchestrator/base/a.py", "x = 1\n")
    return empty


def test_imports_that_run_down_are_fine(layered: Checkout) -> None:
    assert arrows(layered) == []


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("mid/low/b.py", "from mid import a\n", (1, "imports mid.a, which is in a layer above")),
        ("base/b.py", "def f():\n    import top.a\n", (2, "imports top.a, which is in")),
        ("base/b.py", "if TYPE_CHECKING:\n    from top.a import X", (2, "imports top.a, which")),
        ("base/b.py", "from ..mid.low.a import f\n", (1, "imports mid.low.a, which is in")),
    ],
)
def test_an_import_that_runs_up_is_seen(
    layered: Checkout, file: str, source: str, found: tuple[int, str]
) -> None:
    layered.write(f"orchestrator/{file}", source)
    ((where, line, what),) = arrows(layered)
    assert (where, line, what[: len(found[1])]) == (file, *found)


def test_a_circle_is_seen_also_if_only_types_close_it(layered: Checkout) -> None:
    layered.write("orchestrator/top/b.py", "from top.c import X\n")
    layered.write("orchestrator/top/c.py", "if TYPE_CHECKING:\n    from top import b\n")
    ((_, _, what),) = arrows(layered)
    assert what in {
        "is in a circle: top.b > top.c > top.b",
        "is in a circle: top.c > top.b > top.c",
    }
