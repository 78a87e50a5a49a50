"""What a hosts file may say of this machine's Incus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import UsageError
from jerichoci.placement.incus_settings import IncusSettings
from jerichoci.plan.hosts import load_hosts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("key", ["socket", "project", "profile", "pool"])
def test_a_name_that_is_empty_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "hosts.toml").write_text(f'[local.incus]\n{key} = ""\n')
    with pytest.raises(UsageError, match=rf"local\.incus\.{key}: .*at least 1 character"):
        load_hosts(tmp_path / "hosts.toml")


@pytest.mark.parametrize("text", ["local = 5", "local = []", 'local = "incus"'])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    with pytest.raises(UsageError, match=r"hosts\.toml: local: "):
        load_hosts(tmp_path / "hosts.toml")


@pytest.mark.parametrize("text", ["", "[local]\n", "[local.incus]\n"])
def test_what_says_nothing_of_incus_leaves_it_as_installed(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    assert load_hosts(tmp_path / "hosts.toml").local.incus.settings == IncusSettings()


@pytest.mark.parametrize("text", ["[locla.incus]", "[local.inkus]", "[local.incus]\nprofil = 'a'"])
def test_a_key_that_is_not_known_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    with pytest.raises(UsageError, match=r"(locla|local\.inkus|local\.incus\.profil): .*not known"):
        load_hosts(tmp_path / "hosts.toml")
