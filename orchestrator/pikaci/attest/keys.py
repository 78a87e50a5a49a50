"""Ed25519 keys: Nix's own (`name:base64`), PEM (PKCS #8) and OpenSSH's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

MOST_BYTES = 64 * 1024
"""More than any file of one key has."""
RAW_BYTES = 32
"""Of a public key, and of what a secret key is made from."""
_MAKE_ONE = "`nix key generate-secret --key-name NAME` makes one"


def read_secret_key(path: Path) -> Ed25519PrivateKey:
    """The secret key in a file.

    Raises:
        UsageError: it has no key that can sign, or others may read it.
    """
    data, found = _read(path)
    key = _secret_key(path, data)
    _check_mode(path, found)
    return key


def _secret_key(path: Path, data: bytes) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    if not data.startswith(b"-----BEGIN "):
        return _secret_of_nix(path, data)
    is_openssh = data.startswith(b"-----BEGIN OPENSSH ")
    load = load_ssh_private_key if is_openssh else load_pem_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise UsageError(f"the key in {path} has a passphrase", "give one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path} has no secret key", _MAKE_ONE) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"the key in {path} is not an Ed25519 key", _MAKE_ONE)
    return key


def read_public_key(given: str) -> Ed25519PublicKey:
    """A public key: as Nix spells it, or in a file.

    Raises:
        UsageError: it is not a key of that kind.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        load_pem_public_key,
        load_ssh_public_key,
    )

    is_text = ":" in given and not os.path.lexists(given)
    data = given.encode("utf-8", "surrogateescape") if is_text else _read(Path(given))[0]
    where = given if is_text else f"the key in {given}"
    try:
        if data.startswith(b"-----BEGIN "):
            key = load_pem_public_key(data)
        elif data.startswith(b"ssh-"):
            key = load_ssh_public_key(data)
        else:
            _, raw = _parts_of_nix(data)
            key = Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"{where} is not a public key", "`nix key convert-secret-to-public` prints it"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{where} is not an Ed25519 key")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The key's fingerprint as OpenSSH spells it, by which verifiers written in Go know a key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _secret_of_nix(path: Path, data: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        _, raw = _parts_of_nix(data)
    except ValueError:
        raise UsageError(f"{path} has no secret key", _MAKE_ONE) from None
    if len(raw) == RAW_BYTES:
        raise UsageError(f"{path} has a public key", "sign with the secret one")
    seed, public = raw[:RAW_BYTES], raw[RAW_BYTES:]
    if len(public) != RAW_BYTES:
        raise UsageError(f"{path} has no secret key", _MAKE_ONE)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    if key.public_key().public_bytes_raw() != public:
        raise UsageError(f"the two halves of the key in {path} do not belong together")
    return key


def _parts_of_nix(data: bytes) -> tuple[bytes, bytes]:
    """Name and bytes of a key of Nix; ValueError if it is none."""
    name, colon, text = data.strip().partition(b":")
    if not (name and colon):
        raise ValueError("it has no name")
    try:
        return name, base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES), os.fstat(file.fileno())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None


def _check_mode(path: Path, found: os.stat_result) -> None:
    """Refuse a file of this user that others may read, as ssh does."""
    is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    if is_ours and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"others may read the secret key {path}", f"run `chmod 600 {shlex.quote(str(path))}`"
        )
