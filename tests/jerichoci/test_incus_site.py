"""What a hosts file may say of this machine's Incus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import UsageError
from jerichoci.placement import IncusSettings
from jerichoci.plan.hosts import load_hosts

if TYPE_CHECKING:
    from pathlib import Path
KEYS = ("socket", "project", "profile", "pool")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (f'[local.incus]\n{key} = ""\n', rf"local\.incus\.{key}: .*at least 1 char")
            for key in KEYS
        ),
        *(
            (text, r"hosts\.toml: local: ")
            for text in ("local = 5", "local = []", 'local = "incus"')
        ),
        ("[locla.incus]", "locla: .*not known"),
        ("[local.inkus]", r"local\.inkus: .*not known"),
        ("[local.incus]\nprofil = 'a'", r"local\.incus\.profil: .*not known"),
    ],
)
def test_what_is_invalid_is_refused_by_its_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_hosts(tmp_path / "hosts.toml")


@pytest.mark.parametrize("text", ["", "[local]\n", "[local.incus]\n"])
def test_what_says_nothing_of_incus_leaves_it_as_installed(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.toml").write_text(text)
    assert load_hosts(tmp_path / "hosts.toml").local.incus.settings == IncusSettings()
