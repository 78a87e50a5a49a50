"""DSSE: a payload, its type, and signatures over both."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.exit_codes import EXIT_TEST_FAILURE
from pikaci.attest.keys import key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The only type of payload that is signed here, and accepted."""


class NotVerifiedError(PikaciError):
    """What was signed, or what is here, is not what it should be."""

    exit_code = EXIT_TEST_FAILURE


def sign(payload: bytes, key: Ed25519PrivateKey) -> dict[str, Any]:
    """An envelope, as JSON values."""
    signature = key.sign(_what_is_signed(PAYLOAD_TYPE, payload))
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}
        ],
    }


def verified_payload(envelope: dict[str, Any], key: Ed25519PublicKey) -> bytes:
    """The payload of an envelope that the key signed.

    Raises:
        NotVerifiedError: it is no envelope, has another type, or no signature of the key.
    """
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list):
        raise NotVerifiedError("it is not signed")
    payload_type = envelope.get("payloadType")
    if payload_type != PAYLOAD_TYPE:
        raise NotVerifiedError(f"its payload is of type {payload_type!r}, not {PAYLOAD_TYPE}")
    payload = _decoded(envelope.get("payload"))
    if payload is None:
        raise NotVerifiedError("its payload is not base64")
    signed = _what_is_signed(payload_type, payload)
    # The id of a key is but a hint of its maker: what counts is whether the key fits.
    if not any(_fits(key, row, signed) for row in signatures):
        raise NotVerifiedError(
            f"no signature in it is of the key {key_id(key)}",
            "it was changed, or another key signed it",
        )
    return payload


def _what_is_signed(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _fits(key: Ed25519PublicKey, row: object, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    signature = _decoded(row.get("sig")) if isinstance(row, dict) else None
    if signature is None:
        return False
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _decoded(text: object) -> bytes | None:
    """Base64 of either alphabet, as DSSE allows."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
