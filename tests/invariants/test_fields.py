"""Fields of record models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from invariants.checkout import Checkout

MODEL = """
class Job(Model):
    kind: ClassVar[str] = "job"
    id: str
    tart_base: str | None = None
    def f(self):
        local: int = 1
class Step(TypedDict):
    tart_step: int
"""


def test_a_class_has_exactly_its_fields(empty: Checkout) -> None:
    empty.write("a.py", MODEL)
    rule = empty.rule("key-set", ["*"], name="Job", exactly=["id", "command"])
    assert rule.found() == [
        ("a.py", 2, "Job lacks the field command"),
        ("a.py", 5, "Job has the field tart_base"),
    ]


def test_no_class_has_a_field_of_a_kind(empty: Checkout) -> None:
    empty.write("a.py", MODEL)
    rule = empty.rule("key-set", ["*"], name="*", never=["^tart_"])
    assert [(line, what) for _, line, what in rule.found()] == [
        (5, "Job has the field tart_base"),
        (9, "Step has the field tart_step"),
    ]


def test_a_class_that_is_gone_is_told(empty: Checkout) -> None:
    empty.write("a.py", MODEL)
    rule = empty.rule("key-set", ["*"], name="Gone", exactly=["id"])
    assert rule.found() == [("a.py", 1, "there is no class Gone here")]


def test_a_second_copy_is_known_by_name_or_by_its_fields(empty: Checkout) -> None:
    names = ["id", "status", "cause", "message", "phases"]
    fields = "".join(f"    {name}: str\n" for name in names)
    empty.write("records.py", f"class JobRecord:\n{fields}class Small:\n    id: str\n")
    empty.write("far/a.py", "class JobRecord:\n    x: int\n")
    empty.write("far/b.py", "class Row:\n    id: str\n    status: str\n    cause: str\n")
    empty.write("far/c.py", "class Row:\n    id: str\n    status: str\n    title: str\n")
    rule = empty.rule("no-second-copy", ["far/**"], records=["records.py"])
    assert rule.found() == [
        ("far/a.py", 1, "JobRecord repeats JobRecord of records.py"),
        ("far/b.py", 1, "Row repeats JobRecord of records.py"),
    ]
