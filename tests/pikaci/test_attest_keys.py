from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from jerichoci.errors import UsageError
from pikaci.attest.keys import read_public_key, read_secret_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEED, PUBLIC = KEY.private_bytes_raw(), KEY.public_key().public_bytes_raw()


def of_nix(raw: bytes) -> bytes:
    return b"ci-1:" + base64.b64encode(raw)


def pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey, password: bytes = b"") -> bytes:
    kept = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, kept)


def refusal_of_secret(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(UsageError) as refused:
        read_secret_key(path)
    return refused.value.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no secret key"),
        (b"\xff\0", "has no secret key"),
        (b"ci-1:?", "has no secret key"),
        (of_nix(SEED[:20]), "has no secret key"),
        (of_nix(PUBLIC), "has a public key"),
        (of_nix(SEED + bytes(32)), "do not belong together"),
        (pem(KEY)[:40], "has no secret key"),
        (pem(KEY, b"secret"), "has a passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "is not an Ed25519 key"),
    ],
)
def test_what_can_not_sign_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refusal_of_secret(tmp_path, data)


@pytest.mark.parametrize("text", ["ci-1:AAAA", "ci-1:!", ":", "no such file", "ssh-ed25519:"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_public_key(text)


def test_a_public_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / "key.pub"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        read_public_key(str(path))


def test_a_file_with_a_public_key_of_nix_is_read(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_bytes(of_nix(PUBLIC) + b"\n")
    assert read_public_key(str(tmp_path / "key.pub")).public_bytes_raw() == PUBLIC
