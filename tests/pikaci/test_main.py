"""Errors become one sentence and an exit code, whatever they are."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from jerichoci.errors import InfrastructureError, RecordError, UsageError
from pikaci import __main__ as program
from pikaci.cli import pikaci


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no", "do that"), 2, "pikaci: no; do that"),
        (RecordError("damaged"), 2, "pikaci: damaged"),
        (InfrastructureError("lost"), 75, "pikaci: lost"),
        (click.UsageError("What?"), 2, "pikaci: What?"),
        (click.ClickException("bad file"), 2, "pikaci: bad file"),
        (KeyboardInterrupt(), 130, "pikaci: interrupted"),
        (
            OSError(28, "No space left on device", "/x"),
            75,
            "pikaci: operating system error: /x: No",
        ),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    assert fails(monkeypatch, error) == code
    shown = capsys.readouterr()
    assert shown.err.startswith(said)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_an_error_of_ours_keeps_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(monkeypatch, ValueError("ours")) == 75
    (sentence,) = capsys.readouterr().err.splitlines()
    path = Path(sentence.rpartition(" ")[2])
    assert "ValueError: ours" in path.read_text()
    path.unlink()


def fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def main(**_arguments: object) -> None:
        raise error

    monkeypatch.setattr(pikaci, "main", main)
    return program.run([])
