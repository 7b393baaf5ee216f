"""The process that serves: connections that cost nothing while nobody speaks, and signals."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from asyncio import TimerHandle, Transport
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.service._limits import Limits
from rust_kmeans.workflow.service._served import Service

logger = logging.getLogger("rust_kmeans.service")


def serve(app: FastAPI, listener: socket.socket, started: Callable[[], object]) -> None:
    """Serve an application until SIGTERM or Ctrl-C; SIGHUP loads its model anew.

    What is being answered when the end is asked for is still answered, within the limit of time.

    Parameters
    ----------
    app : FastAPI
        What `create_app` returns.
    listener : socket
        Bound to its address.
    started : callable
        Called without arguments when connections are taken.
    """
    limits = app.state.service.limits
    config = uvicorn.Config(
        app,
        http=partial(_Connection, limits=limits),  # type: ignore[arg-type]  # what makes a protocol will do
        ws="none",
        lifespan="on",
        log_config=None,
        # What strangers send is no event for the log.
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=min(limits.max_connections, socket.SOMAXCONN),
        timeout_graceful_shutdown=max(round(limits.timeout), 1),
    )
    _Server(config, app.state.service, started).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        0 for any that is free.

    Returns
    -------
    socket
        Not yet listening.

    Raises
    ------
    WorkflowError
        If the address is not one of this machine, or is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            # A service that was just stopped leaves connections behind that would keep the address.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        msg = f"cannot listen on {host} port {port}: {error.strerror}; choose another --host or --port."
        raise WorkflowError(msg) from None
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Return whether only this machine reaches a bound socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


class _Server(uvicorn.Server):
    """A server that ends well: with status 0, as its user wished."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._service = service
        self._announce = started
        self._reloads: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, and say so."""
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._start_reload)
        self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as the wish to end; unlike uvicorn, do not die of them afterwards."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        # The service has logged it, and nobody waits for an answer.
        with suppress(WorkflowError, OSError):
            await self._service.reload()


class _Connection(HttpToolsProtocol):
    """A connection with little patience: for heads that do not come and answers nobody reads."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:  # noqa: ANN401  # what uvicorn gives a protocol
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._deadline: TimerHandle | None = None
        self._head_bytes = -1

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn speaks over TCP alone
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            transport.abort()
        else:
            self._expect_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head never ends."""
        super().data_received(data)
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a head."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Let the application bound the time from here on."""
        self._head_bytes = -1
        self._expect_nothing()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next head, or for the rest of a body that was refused."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._expect_more()

    def pause_writing(self) -> None:
        """Wait for a client that does not read its answer."""
        super().pause_writing()
        self._expect_more()

    def resume_writing(self) -> None:
        """Let the application go on."""
        super().resume_writing()
        self._expect_nothing()

    def _expect_more(self) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(self._limits.timeout, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


_MOST_HEAD_BYTES = 1 << 16
