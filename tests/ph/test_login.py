"""`ph login` keeps a server and a token, for their owner alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from fake_forge import refusal, serving

if TYPE_CHECKING:
    from pathlib import Path

    from fake_forge import Ph

ME = {"name": "ann", "role": "write"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config/ph/config.toml"


def test_a_login_is_checked_kept_and_used(ph: Ph, tmp_path: Path, config: Path) -> None:
    (tmp_path / "token").write_text("ph_secret\n")
    with serving({"GET whoami": ME}) as forge:
        code, out, _ = ph("login", f"{forge.url}/", "--token-file", str(tmp_path / "token"))
        assert (code, out) == (0, f"ann, role write at {forge.url}; kept in {config}\n")
        assert config.stat().st_mode & 0o777 == 0o600
        assert config.parent.stat().st_mode & 0o777 == 0o700
        assert ph("whoami")[0] == 0
        assert [each.token for each in forge.asked] == ["Bearer ph_secret"] * 2


def test_a_token_comes_from_stdin(ph: Ph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("ph_piped\nmore\n"))
    with serving({"GET whoami": ME}) as forge:
        assert ph("login", forge.url)[0] == 0
        assert forge.asked[0].token == "Bearer ph_piped"  # noqa: S105 - a test's


def test_a_token_that_the_server_refuses_is_not_kept(
    ph: Ph, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("ph_wrong"))
    with serving({"GET whoami": refusal(401, "not valid")}) as forge:
        assert ph("login", forge.url)[0] == 4
    assert not config.exists()


@pytest.mark.parametrize("token", ["", "a b", "ä", "ph_\x1b[2J"])
def test_what_is_no_token_is_not_sent(ph: Ph, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(token))
    with serving({"GET whoami": ME}) as forge:
        assert ph("login", forge.url)[0] == 4
        assert forge.asked == []


def test_a_token_is_not_sent_to_another_server_than_its_own(
    ph: Ph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("ph_secret"))
    with serving({"GET whoami": ME}) as own, serving({"GET whoami": ME}) as other:
        ph("login", own.url)
        monkeypatch.setenv("PH_URL", other.url)
        assert ph("whoami")[0] == 4
        assert other.asked == []


def test_a_damaged_config_is_told(ph: Ph, config: Path) -> None:
    config.parent.mkdir(parents=True)
    config.write_text("url = ")
    code, _, err = ph("whoami")
    assert code == 2
    assert str(config) in err


@pytest.mark.parametrize("url", ["http://[", "http://forge:99999", "http://forge/ü"])
def test_an_address_that_is_none_is_refused(
    ph: Ph, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PH_URL", url)
    monkeypatch.setenv("PH_TOKEN", "ph_x")
    code, _, said = ph("whoami")
    assert (code, "is not a server's address: " in said) == (2, True)
