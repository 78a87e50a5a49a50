from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from fake_forge import FakeForge, Ph, Serve, serving
from ph import server
from ph.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no settings, no patience."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("PH_URL", "PH_TOKEN", "PH_REPO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(server, "RETRY_SECS", 1.0)
    monkeypatch.setattr(server, "PATIENT_SECS", 5.0)
    monkeypatch.setattr(server, "FIRST_PAUSE_SECS", 0.02)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    @contextmanager
    def served(routes: dict[str, Any]) -> Iterator[FakeForge]:
        with serving(routes) as forge:
            monkeypatch.setenv("PH_URL", forge.url)
            monkeypatch.setenv("PH_TOKEN", "ph_secret")
            yield forge

    return served


@pytest.fixture
def ph(capfd: pytest.CaptureFixture[str]) -> Ph:
    def call(*args: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(list(args))
        out, err = capfd.readouterr()
        return code, out, err

    return call
