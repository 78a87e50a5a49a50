"""What a Mac guest needs is found where pikaci is run from."""

from __future__ import annotations

from pathlib import Path

import pytest

from jerichoci.runtime.tart import files
from jerichoci.runtime.tart.files import BOOTSTRAP, RUNNER, guest_file

CHECKOUT = Path(__file__).parents[2]
IN_CHECKOUT = {RUNNER: "nix/incus/pikaci-incus-run.py", BOOTSTRAP: "nix/tart/bootstrap.sh"}


@pytest.mark.parametrize("name", IN_CHECKOUT)
def test_a_checkout_has_both_files(name: str) -> None:
    assert guest_file(name) == (CHECKOUT / IN_CHECKOUT[name]).read_bytes()


def test_both_are_programs() -> None:
    assert guest_file(BOOTSTRAP).startswith(b"#!/bin/bash\n")
    assert guest_file(RUNNER).startswith(b"#!")


def test_a_package_has_them_beside_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guest_files").mkdir()
    (tmp_path / "guest_files" / RUNNER).write_bytes(b"packaged")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "files.py"))
    guest_file.cache_clear()
    try:
        assert guest_file(RUNNER) == b"packaged"
    finally:
        guest_file.cache_clear()
