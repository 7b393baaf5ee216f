"""Bodies of requests: as large as allowed, of the right type, and JSON that says everything once."""

from __future__ import annotations

import json
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request

from rust_kmeans.workflow.service._refusals import Refusal, unprocessable

JSON = "application/json"
BINARY = "application/octet-stream"


async def read_body(request: Request, types: Collection[str], max_body: int) -> bytes:
    """Return the body of a request.

    Parameters
    ----------
    request : Request
        Whose body has not been read.
    types : collection of str
        Media types that are understood.
    max_body : int
        Bytes at most.

    Returns
    -------
    bytes
        The whole body.

    Raises
    ------
    Refusal
        415 for another type and for compressed bodies, 413 for one that is too large.
    """
    headers = request.headers
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in types:
        what = f"content-type is '{given}'" if given else "there is no content-type"
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{what}: send {' or '.join(types)}.")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        reason = f"content-encoding is '{encoding}': send the body as it is, not compressed."
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
    # The HTTP parser has refused lengths that are no numbers.
    size = int(headers.get("content-length", 0))
    parts: list[bytes] = []
    more = size <= max_body
    if more:
        size = 0
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refusal(HTTPStatus.BAD_REQUEST, "the connection ended before the body did.")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        more = message.get("more_body", False) and size <= max_body
    if size > max_body:
        reason = f"the body is larger than {max_body} bytes: send fewer rows at a time."
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def object_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Parameters
    ----------
    body : bytes
        Strict JSON in UTF-8: no NaN, no infinity, no number too large for float64.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    Refusal
        400 for what is no such JSON; 422 for what is no object.
    """
    if not body:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is empty: send a JSON object.")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Many programs write it all the same.
        hint = "; JSON has no NaN, null says what is missing" if b"NaN" in body else ""
        reason = f"the body cannot be read as JSON: {error}{hint}."
        raise Refusal(HTTPStatus.BAD_REQUEST, reason) from None
    if not isinstance(document, dict):
        msg = f"the body is {kind_of(document)}: it must be a JSON object."
        raise unprocessable(msg)
    return document


def refuse_repeated_names(body: bytes) -> None:
    """Refuse a JSON object that names something twice, of which the parser keeps the last only.

    Parameters
    ----------
    body : bytes
        What `object_of` has read.

    Raises
    ------
    Refusal
        422 with the name, and for what is nested too deeply.
    """
    # One name needs two quotes: with no more there is nothing to be repeated, which spares large bodies.
    if body.count(b'"') > _QUOTES_OF_A_NAME:
        try:
            json.loads(body, object_pairs_hook=_once)
        except RecursionError:
            msg = "the body is nested too deeply."
            raise unprocessable(msg) from None


def kind_of(value: object) -> str:
    """Return what JSON calls a value, with an article."""
    return _KINDS[type(value)]


def few(names: Collection[object]) -> str:
    """Return the first of names for a line of text."""
    shown = ", ".join(f"'{str(name)[:_SHOWN_CHARACTERS]}'" for name in list(names)[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


_QUOTES_OF_A_NAME = 2
_SHOWN = 5
_SHOWN_CHARACTERS = 60
_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def _once(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        msg = f"{few(repeated)} is named more than once: name it once."
        raise unprocessable(msg)
