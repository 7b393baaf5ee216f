"""Requests that are turned away: a status and a reason, always as `{"error": reason}`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response


class Refusal(Exception):  # noqa: N818  # no defect of anybody: an answer
    """A request that is not answered as it wishes.

    Parameters
    ----------
    status : HTTPStatus
        Why, in HTTP's words.
    reason : str
        Why, in one line for who sent it.
    headers : mapping of str, default=None
        What HTTP wants said with the status.
    """

    def __init__(self, status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def response(self) -> Response:
        """Return the answer."""
        return json_response({"error": self.reason}, self.status, self.headers)


def unprocessable(reason: str) -> Refusal:
    """Return the refusal of a body that can be read and means nothing here."""
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, reason)


def json_response(
    content: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Return content as JSON: arrays as lists, what is not finite as null."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers=headers, media_type="application/json")
