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
        "import_module('.cli', package='front')",
        "import_module('.cli', 'front')",
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


def test_imports_for_types_can_be_left_out(empty: Checkout) -> None:
    empty.write(HERE, "if TYPE_CHECKING:\n    import front\nelse:\n    import front")
    rule = empty.rule("import-direction", ALL, forbid=["front"], type_checking=False)
    assert [line for _, line, _ in rule.found()] == [4]


def test_only_named_parts_of_a_package_may_be_imported(empty: Checkout) -> None:
    empty.write(
        HERE,
        "from core.record import Run\nfrom core import Store\nimport core\n"
        "from core import run_plan\nfrom core.record_keeping import x\nimport json\n",
    )
    rule = empty.rule("import-direction", ALL, within="core", only=["core.record", "core.Store"])
    assert [line for _, line, _ in rule.found()] == [3, 4, 5]


def test_python_that_cannot_be_read_is_told(empty: Checkout) -> None:
    empty.write(HERE, "x = 1\ndef f(:\n")
    ((file, line, what),) = empty.rule("import-direction", ALL, forbid=["front"]).found()
    assert (file, line) == (HERE, 2)
    assert what.startswith("not Python")


def heavy(empty: Checkout, called: tuple[str, ...] = ()) -> list[tuple[str, int, str]]:
    rule = empty.rule("import-time", ALL, modules=["a.main"], forbid=["rich"], called=called)
    return rule.found()


def test_import_time_follows_the_way_there(empty: Checkout) -> None:
    empty.write("orchestrator/a/__init__.py", "")
    empty.write("orchestrator/a/main.py", "from a import middle\n")
    empty.write("orchestrator/a/middle.py", "import json\nfrom b.leaf import x\n")
    empty.write("orchestrator/b/leaf.py", "import os\n\nfrom rich.text import Text\n")
    way = "imports rich (a.main > a.middle > b.leaf)"
    assert heavy(empty) == [("orchestrator/b/leaf.py", 3, way)]


def test_the_packages_around_a_module_are_imported_too(empty: Checkout) -> None:
    empty.write("orchestrator/a/__init__.py", "import rich\n")
    empty.write("orchestrator/a/main.py", "")
    empty.write("orchestrator/b/__init__.py", "import rich\n")
    empty.append("orchestrator/a/main.py", "import b.c\n")
    assert [file for file, _, _ in heavy(empty)] == ["orchestrator/b/__init__.py"]


def test_deferred_imports_cost_nothing_until_called(empty: Checkout) -> None:
    empty.write(
        "orchestrator/a/main.py",
        "if TYPE_CHECKING:\n    import rich\ndef f():\n    import rich\n",
    )
    assert heavy(empty) == []


def test_what_a_call_imports_counts_for_what_is_called(empty: Checkout) -> None:
    empty.write("orchestrator/a/main.py", "")
    empty.write("orchestrator/a/list.py", "def f():\n    import a.table\n")
    empty.write("orchestrator/a/table.py", "import rich\ndef g():\n    import rich.live\n")
    found = heavy(empty, called=("a.list",))
    assert [(file, line) for file, line, _ in found] == [("orchestrator/a/table.py", 1)]


def test_a_module_to_start_from_must_be_there(empty: Checkout) -> None:
    empty.write("orchestrator/a/other.py", "")
    assert heavy(empty) == [
        ("orchestrator/a/main.py", 1, "there is no module a.main to start from")
    ]
