"""What of long output is shown in a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pikaci.render.ci.output import FIRST_LINES, LAST_LINES, printed

if TYPE_CHECKING:
    from pathlib import Path

BEGUN = "pikaci> prepare_directories passed (0 ms)\n"


def test_short_output_is_whole(tmp_path: Path) -> None:
    (tmp_path / "host.log").write_text(f"dep> built\n{BEGUN}one\ntwo\n")
    assert list(printed(tmp_path, "it", "it")) == ["one", "two"]
    assert list(printed(tmp_path, "it", "dep")) == ["built"]
    assert list(printed(tmp_path / "missing", "it", "it")) == []


def test_of_a_jobs_long_output_the_middle_is_left_out(tmp_path: Path) -> None:
    lines = [f"line {number:08} {'x' * 90}" for number in range(40_000)]
    (tmp_path / "host.log").write_text(BEGUN + "".join(f"{line}\n" for line in lines))
    shown = list(printed(tmp_path, "it", "it"))
    (middle,) = (number for number, line in enumerate(shown) if line.startswith("... "))
    assert middle >= FIRST_LINES
    assert shown[: middle - 1] == lines[: middle - 1]
    rest = shown[middle + 2 :]
    assert rest == lines[-len(rest) :]
    assert abs(len(lines) - (len(shown) - 1) - int(shown[middle].split()[1])) <= 1


def test_of_a_builds_long_output_too_and_nothing_of_the_job_is_taken_for_it(
    tmp_path: Path,
) -> None:
    lines = [f"built {number}" for number in range(FIRST_LINES + LAST_LINES + 5)]
    own = "".join(f"dep> {line}\n" for line in lines)
    (tmp_path / "host.log").write_text(own + BEGUN + "of the job\n" * 200_000)
    shown = list(printed(tmp_path, "it", "dep"))
    middle = ["... 5 lines ..."]
    assert shown == lines[:FIRST_LINES] + middle + lines[-LAST_LINES:]
