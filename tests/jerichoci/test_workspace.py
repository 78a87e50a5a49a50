from __future__ import annotations

import os
import re
import resource
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from deep import nest
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def doomed(tmp_path: Path) -> Path:
    """A directory to be removed."""
    directory = tmp_path / "doomed"
    directory.mkdir()
    return directory


@pytest.fixture
def immutable(doomed: Path) -> Iterator[Path]:
    """A file that can not be removed, below the directory."""
    file = doomed / "a/b/file"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    done = subprocess.run(["chattr", "+i", str(file)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("files can't be made immutable here")
    yield file
    subprocess.run(["chattr", "-R", "-i", str(doomed)], check=True)


def test_a_tree_deeper_than_any_path_is_removed(doomed: Path) -> None:
    nest(doomed, 2100)
    remove_tree(doomed)
    assert not doomed.exists()


def test_a_deep_tree_takes_few_descriptors(doomed: Path) -> None:
    nest(doomed, 1500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        remove_tree(doomed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not doomed.exists()


def test_a_closed_directory_is_removed_with_all_in_it(doomed: Path) -> None:
    (doomed / "a/closed/inner").mkdir(parents=True)
    (doomed / "a/closed/inner/file").write_text("x")
    for directory in ("a/closed/inner", "a/closed", "a", "."):
        (doomed / directory).chmod(0)
    remove_tree(doomed)
    assert not doomed.exists()


def test_what_a_link_names_stays(doomed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "file").write_text("x")
    (doomed / "a").mkdir()
    (doomed / "a/link").symlink_to(elsewhere)
    remove_tree(doomed)
    assert not doomed.exists()
    assert (elsewhere / "file").exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_a_link_is_no_directory_to_remove(doomed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(doomed)
    remove_tree(tmp_path / "link")
    assert doomed.exists()


def test_removing_what_is_missing_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")


def test_what_can_not_be_removed_does_not_keep_the_rest(doomed: Path, immutable: Path) -> None:
    for name in ("a/other", "z/other"):
        (doomed / name).mkdir(parents=True)
    with pytest.raises(PermissionError, match=re.escape(str(doomed))):
        remove_tree(doomed)
    left = [path for path in doomed.rglob("*") if not path.is_dir()]
    assert [path.name for path in left] == [immutable.name]
    assert not list(doomed.rglob("other"))


def test_several_may_remove_the_same_tree_at_once(doomed: Path) -> None:
    for number in range(300):
        (doomed / f"{number % 7}/{number}/a/b").mkdir(parents=True)
        (doomed / f"{number % 7}/{number}/file").write_text("x")
    with ThreadPoolExecutor(4) as removers:
        list(removers.map(remove_tree, [doomed] * 4))
    assert not os.path.lexists(doomed)
