"""Decisions by the text of a name, and choices that follow from what they may not."""

from __future__ import annotations

import pytest

from invariants.checkout import Checkout, lines_found


@pytest.mark.parametrize(
    "source",
    [
        "job_id.startswith('apple-')",
        "node.job_id.endswith('-vm')",
        "row['job_id'].startswith(prefixes)",
        "row.get('job_id').startswith(prefixes)",
        "job_id == 'hello'",
        "'hello' != node.job_id",
        "'apple' in job_id",
        "job_id in ('a', 'b')",
        "job_id not in {'a', 'b'}",
        "re.match(r'apple', job_id)",
        "pattern.fullmatch(job_id)",
        "fnmatch(job_id, 'apple-*')",
        "match job_id:\n    case 'a' | 'b':\n        pass",
        "{'a': 1}[job_id]",
        "{'a': 1}.get(node.job_id, 2)",
        "job.id == 'hello'",
    ],
)
def test_a_decision_by_text_is_seen(empty: Checkout, source: str) -> None:
    empty.write("a.py", source)
    assert lines_found(empty.rule("no-branch-on-name", ["*"], subjects=["job_id", "job.id"])) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "job_id == other",
        "job_id in jobs",
        "jobs[job_id]",
        "id == 'hello'",
        "run.id == 'hello'",
        "job_id.removeprefix('execute-')",
        "match job_id:\n    case str():\n        pass",
        "text.startswith(job_id)",
    ],
)
def test_comparing_names_with_each_other_is_fine(empty: Checkout, source: str) -> None:
    empty.write("a.py", source)
    assert lines_found(empty.rule("no-branch-on-name", ["*"], subjects=["job_id", "job.id"])) == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("if placement == 'local':\n    runtime = 'host_process'", 2),
        ("if x:\n    pass\nelif node.placement:\n    runtime: str = 'incus'", 4),
        ("if placement:\n    pass\nelse:\n    f(runtime='tart')", 4),
        ("match node.placement:\n    case 'local':\n        node.runtime = 'tart'", 3),
        ("runtime = 'incus' if row['placement'] else 'tart'", 1),
        ("default_runtime = KINDS[placement]", 1),
        ("runtime = {'local': 'tart'}.get(placement)", 1),
        ("x = {'runtime': placement == 'local' and 'incus'}", 1),
        ("def pick_runtime(placement):\n    return 'a' if placement else 'b'", 2),
        ("def f():\n    if (runtime := KINDS[node.placement]):\n        pass", 2),
    ],
)
def test_a_choice_that_follows_is_seen(empty: Checkout, source: str, line: int) -> None:
    empty.write("a.py", source)
    rule = empty.rule("no-choice-from", ["*"], chosen=["runtime"], never_from=["placement"])
    assert lines_found(rule) == [line]


@pytest.mark.parametrize(
    "source",
    [
        "f(runtime=node.runtime, placement=node.placement)",
        "if placement:\n    f(runtime=node.runtime)",
        "if placement:\n    def f():\n        runtime = 'a'",
        "runtime = open_runtime(node.runtime, placement)",
        "runtime = None",
        "if placement:\n    x = 1\nruntime = 'a'",
        "placement = 'local' if placement else 'b'",
    ],
)
def test_handing_on_is_no_choice(empty: Checkout, source: str) -> None:
    empty.write("a.py", source)
    rule = empty.rule("no-choice-from", ["*"], chosen=["runtime"], never_from=["placement"])
    assert lines_found(rule) == []
