"""Idempotency-Key: a request with a key is carried out once, and repeated requests get the same answer.

It follows draft-ietf-httpapi-idempotency-key-header: 400 for an invalid key, 409 while the first request with the key
is being served, 422 for another request with the same key. A key lasts EVERPOST_IDEMPOTENCY_HOURS.
"""

import re
import time
from hashlib import sha256

from everpost.api.http.bodies import Headers
from everpost.api.http.rights import caller_of
from everpost.api.openapi.describe import Header
from everpost.api.services import ApiRequest, services_of
from everpost.errors import BadInput
from everpost.store.ledger import IdempotencyKey

MAX_KEY = 255
HOUR_MS = 3_600_000
ANSWER_S = 4.5  # as long as a request without a key, although it asks the database twice
PLAIN = re.compile(rb"[!#-~][!-~]*")
QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a String of RFC 8941, the form in the draft
PATTERN = r'^([!#-~][!-~]{0,254}|"([ !#-\[\]-~]|\\["\\]){1,255}")$'  # both forms, for the OpenAPI document
ESCAPE = re.compile(rb"\\(.)")

IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters, in quotes or not. The same key with the same body gives the same answer and "
    "nothing is done twice; while the first such request is being served, 409; with another body, 422. Remembered for "
    "EVERPOST_IDEMPOTENCY_HOURS.",
    "order-8271-video-1",
    PATTERN,
)

WITH_KEY = ("bad_input", "idempotency_key_in_use", "idempotency_key_reused")
"""The codes with which a request with a key can be refused."""


def idempotency_key(request: ApiRequest, headers: Headers, body: bytes) -> IdempotencyKey | None:
    """The key of a request, with the digest of its path and body; None if it has no key.

    Raises:
        BadInput: The key is invalid.
    """
    if b"idempotency-key" not in headers:
        return None
    values = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    services = services_of(request)
    kept_ms = services.settings.idempotency_hours * HOUR_MS
    fingerprint = sha256(request.scope["path"].encode() + b"\n" + body).hexdigest()
    until_s = time.monotonic() + ANSWER_S
    key, caller = read_key(values), caller_of(request)
    if not caller.is_named:
        return IdempotencyKey(key, fingerprint, kept_ms, until_s)
    # Two callers may choose the same key. Each may have sent its request before it got a name.
    return IdempotencyKey(f"{caller.name}\n{key}", fingerprint, kept_ms, until_s, nameless=key)


def read_key(values: list[bytes]) -> str:
    """The key in the header's values. There must be exactly one value.

    Raises:
        BadInput: There are more, or it is empty, too long, or has other characters.
    """
    (value, *more) = values
    quoted = QUOTED.fullmatch(value)
    key = ESCAPE.sub(rb"\1", quoted[1]) if quoted else value
    if more or not 0 < len(key) <= MAX_KEY or not (quoted or PLAIN.fullmatch(value)):
        raise BadInput(f"The Idempotency-Key must be one text of 1 to {MAX_KEY} visible ASCII characters.")
    return key.decode("ascii")
