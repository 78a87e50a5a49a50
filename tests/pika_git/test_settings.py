from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pika_git.settings import Settings, SettingsError, load, parse_address

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_file_everything_is_as_by_default(tmp_path: Path) -> None:
    assert load(tmp_path / "settings.toml") == Settings()
    assert not Settings().public_read


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(
        'listen = "[::1]:0"\npublic_url = "https://ci.example"\npublic_read = true\n'
        "[limits]\nrequest_mib = 2\n[deadlines]\nevaluation_secs = 30\n"
    )
    found = load(path)
    assert (found.listen, found.public_read, found.is_https) == ("[::1]:0", True, True)
    assert (found.limits.request_mib, found.deadlines.evaluation_secs) == (2, 30)
    assert found.deadlines.shutdown_secs == Settings().deadlines.shutdown_secs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("liste = 1", "there is no setting `liste`"),
        ("[limits]\nrequest = 1", "there is no setting `limits.request`"),
        ("public_read = 1", "`public_read` is true or false, not 1"),
        ("listen = 80", "`listen` is a text, not 80"),
        ('listen = "80"', "`listen` is HOST:PORT, such as 127.0.0.1:8080, not '80'"),
        ('listen = "x:99999"', "`listen` is HOST:PORT"),
        ('public_url = "ci.example"', "`public_url` is http(s)://HOST[:PORT] without a path"),
        ('public_url = "http://["', "`public_url` is no URL: "),
        ('public_url = "http://ci.example:99999"', "`public_url` is no URL: "),
        ('public_url = "https://ci.example/x"', "`public_url` is http(s)://HOST[:PORT]"),
        ("limits = 3", "`limits` is a table, not 3"),
        ("[deadlines]\npoll_secs = 0", "`deadlines.poll_secs` is more than 0, not 0"),
        ("[deadlines]\npoll_secs = true", "`deadlines.poll_secs` is a whole number, not True"),
        ("listen = \n", "line 1"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as found:
        load(path)
    assert says in str(found.value)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="can't be read"):
        load(tmp_path / "settings.toml")
    (tmp_path / "dir").mkdir()
    with pytest.raises(SettingsError, match="can't be read"):
        load(tmp_path / "dir")


def test_an_address_may_be_of_ipv6() -> None:
    assert parse_address("[::1]:80") == ("::1", 80)
    assert parse_address("localhost:0") == ("localhost", 0)
