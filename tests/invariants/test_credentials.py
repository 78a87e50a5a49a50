"""What looks like a secret, and what doesn't. Those here are put together, so as not to look it."""

from __future__ import annotations

import pytest

from invariants.checkout import Checkout, lines_found

RANDOM = "k9Zq2" + "LmX7pR4" + "tVw8sB1d"


@pytest.mark.parametrize(
    "line",
    [
        "AKIA" + "0A1B2C3D4E5F6G7H",
        "gh" + "p_" + "a1B2" * 9,
        "gl" + "pat-" + "a1B2" * 6,
        "xox" + "b-" + "1234567890-abcdefghij",
        "ns" + "ec1" + "q" * 58,
        "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
        "pass" + f'word = "{RANDOM}"',
        "API_TO" + f"KEN: str = '{RANDOM}'",
        '"client_sec' + f'ret": "{RANDOM}"',
        "webhook.sec" + f'ret = "{RANDOM}";',
        "to" + 'ken = "3f9a61c07be24d58a1f09c6b"',
    ],
)
def test_a_secret_is_seen_and_not_repeated(empty: Checkout, line: str) -> None:
    empty.write("a.txt", f"harmless\n{line}\n")
    ((file, number, what),) = empty.rule("no-secrets", ["*.txt"]).found()
    assert (file, number) == ("a.txt", 2)
    assert what.startswith("looks like ")
    assert RANDOM not in what


@pytest.mark.parametrize(
    "line",
    [
        'password = "changeme"',
        'token = ""',
        'password_file = "/run/credentials/pikaci/password-1"',
        'TOKEN_VARIABLE = "PIKACI_FORGE_TOKEN_2"',
        'token_kind = "personal_access_token_v2"',
        'secret = os.environ["SECRET_1"]',
        "--hash=sha256:" + "3f9a61c07be24d58" * 4,
        'narHash = "sha256-bxrdOn8SCOv8tN4JbTF/TXq7kjo9ag4M+C8yzzIRYbE="',
        'rev = "1c3fe55ad329cbcb28471bb30f05c9827f724c76"',
        'tokens = "aaaaaaaaaaaaaaaaaaaaaaa1"',
        'password = "${config.sops.placeholder.password1}"',
    ],
)
def test_what_is_no_secret_is_left_alone(empty: Checkout, line: str) -> None:
    empty.write("a.txt", line)
    assert lines_found(empty.rule("no-secrets", ["*.txt"])) == []


def test_binary_files_are_left_alone(empty: Checkout) -> None:
    empty.write("a.bin", "\0" + "gh" + "p_" + "a1B2" * 9)
    assert lines_found(empty.rule("no-secrets", ["*.bin"])) == []
