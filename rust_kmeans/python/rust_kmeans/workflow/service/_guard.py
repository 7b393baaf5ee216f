"""What stands before every route: hosts, origins, tokens, too many requests, too much time."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection
from http import HTTPStatus
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rust_kmeans.workflow.service._refusals import Refusal
from rust_kmeans.workflow.service._served import Service, busy

#: Always answered: whoever watches the service has no token, and asks when it is busy as well.
HEALTH = frozenset(("/v2/health/live", "/v2/health/ready"))
#: The page holds nothing of the model; it asks its reader for the token.
PAGE = frozenset(("/", "/docs", "/page.css", "/page.js"))


class Guard:
    """The outermost part of the application: turns requests away and counts them all.

    Parameters
    ----------
    app : ASGI application
        What answers the others.
    service : Service
        Whose limits hold.
    token : str or None
        What `Authorization: Bearer` must say; None where anyone may ask.
    allowed_hosts : collection of str or None
        Names under which the service may be addressed; None for any.
    """

    def __init__(
        self, app: ASGIApp, service: Service, token: str | None, allowed_hosts: Collection[str] | None
    ) -> None:
        self._app = app
        self._service = service
        self._token = token.encode() if token else None
        self._hosts = None if allowed_hosts is None else {_host(name.encode()) for name in allowed_hosts}
        self._n_running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 0
        waiting = False

        async def receive_and_tell() -> Message:
            nonlocal waiting
            waiting = True
            message = await receive()
            waiting = False
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        metrics = self._service.metrics
        metrics.in_flight.inc()
        self._n_running += 1
        try:
            try:
                self._admit(scope)
                async with asyncio.timeout(self._service.limits.timeout):
                    await self._app(scope, receive_and_tell, send_and_note)
            except Refusal as refusal:
                await refusal.response()(scope, receive, send_and_note)
            except TimeoutError:
                # An answer that has begun cannot become another; the server drops the connection.
                if not status:
                    await _late(waiting).response()(scope, receive, send_and_note)
        finally:
            self._n_running -= 1
            metrics.in_flight.dec()
            route = getattr(scope.get("route"), "path", "other")
            metrics.count_request(route, status or HTTPStatus.INTERNAL_SERVER_ERROR, perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Refuse what no route should see."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"")
        if self._hosts is not None and _host(host) not in self._hosts:
            reason = f"the host '{_text(host)}' is not one this service goes by: see --allowed-host."
            raise Refusal(HTTPStatus.MISDIRECTED_REQUEST, reason)
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != host:
            reason = f"pages of '{_text(origin)}' may not use this service."
            raise Refusal(HTTPStatus.FORBIDDEN, reason)
        path = scope["path"]
        if path in HEALTH:
            return
        if self._token is not None and path not in PAGE:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                reason = "a token is needed: send it as 'Authorization: Bearer TOKEN'."
                raise Refusal(HTTPStatus.UNAUTHORIZED, reason, {"WWW-Authenticate": "Bearer"})
        if self._n_running > self._service.limits.max_concurrency:
            raise busy()


_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_SHOWN = 100


def _host(address: bytes) -> bytes:
    """Return the host of `host` or `host:port`; an IPv6 address stands in brackets, or is alone."""
    if address.startswith(b"["):
        return address[1:].partition(b"]")[0].lower()
    host, colon, port = address.rpartition(b":")
    return (host if colon and b":" not in host and port.isdigit() else address).lower()


def _text(header: bytes) -> str:
    return header[:_SHOWN].decode("latin-1")


def _late(waiting: bool) -> Refusal:
    if waiting:
        reason = "the body took too long to arrive."
        return Refusal(HTTPStatus.REQUEST_TIMEOUT, reason, {"Connection": "close"})
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, "the answer took too long: send fewer rows at a time.")
