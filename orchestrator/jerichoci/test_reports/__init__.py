"""Test reports among the artifacts of a job: JUnit XML, TAP, `go test -json`, cargo's JSON.

- A report is known by its name and its first bytes (`recognise`).
- It is read as a stream, once, after collection (`reading`), and never decides a job's result.
- What is in it is a stranger's: bytes, tests, depth, lengths and time are bounded. A report that
  breaks a bound is read up to there, and `unreadable` says why the rest was not.

This package is imported when an artifact has one of these names.
"""

from __future__ import annotations

REPORT_SUFFIXES = (".xml", ".tap", ".json", ".jsonl", ".ndjson")
"""What the name of a report ends with."""
