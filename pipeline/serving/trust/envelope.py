"""An envelope: a text, and who signed it.

It is a DSSE envelope with one Ed25519 signature, so that other tools can verify it, too. What is signed is the text
together with its type::

    PAE(type, body) = "DSSEv1" SP len(type) SP type SP len(body) SP body

Sources: "DSSE: Dead Simple Signing Envelope", protocol and envelope, v1.0 (github.com/secure-systems-lab/dsse);
Josefsson and Liusvaara, "Edwards-Curve Digital Signature Algorithm", RFC 8032.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.base.errors import TrustError
from pipeline.serving.trust.trusted import TrustedKey, find

if TYPE_CHECKING:
    from pipeline.serving.trust.keys import Signer

IN_TOTO: Final = "application/vnd.in-toto+json"
LONGEST: Final = 20_000  # characters of an envelope


def pae(kind: str, body: bytes) -> bytes:
    """What is signed of a text of some type."""
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(body), body)


def sealed(body: bytes, signer: "Signer", kind: str = IN_TOTO) -> str:
    """The envelope around a text, as JSON on one line."""
    signature = {"keyid": signer.keyid, "sig": encoded(signer.sign(pae(kind, body)))}
    return json.dumps({"payload": encoded(body), "payloadType": kind, "signatures": [signature]}, separators=(",", ":"))


def opened(text: str, keys: Sequence[TrustedKey], kind: str = IN_TOTO) -> tuple[TrustedKey, bytes]:
    """The key that signed an envelope, and the text in it; the text is not parsed before its signature was checked.

    Raises:
        TrustError: it is no envelope, its key is not trusted, or the signature does not fit.
    """
    payload, keyid, signature = _parts(text, kind)
    key = find(keyid, keys)
    body = decoded(payload)
    if not key.verifies(decoded(signature), pae(kind, body)):
        raise TrustError(f"the signature does not fit what key {key.keyid[:12]} is said to have signed")
    return key, body


def _parts(text: str, kind: str) -> tuple[str, str, str]:
    """Payload, key and signature, of which nothing is known yet."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"{len(text):,} characters are too many")
        envelope: Any = json.loads(text)
        (signature,) = envelope["signatures"]
        found = envelope["payload"], signature["keyid"], signature["sig"]
        if not all(isinstance(each, str) for each in found):
            raise TypeError("a part is no text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrustError(f"what stands there is no signed envelope ({error})") from error
    if envelope.get("payloadType") != kind:
        raise TrustError(f"the envelope holds {str(envelope.get('payloadType'))[:60]!r}, and {kind!r} is expected")
    return found


def encoded(content: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(content).decode()


def decoded(text: str) -> bytes:
    """Bytes of a base64 text, which must be the one that ``encoded`` gives: no other spelling of the same bytes.

    Raises:
        TrustError: it is not.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise TrustError(f"a part of the envelope is no base64 ({error})") from error
    if encoded(content) != text:
        raise TrustError("a part of the envelope is written in base64 in an odd way")
    return content
