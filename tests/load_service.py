"""How much a service takes: ``python -m tests.load_service``.

Without an address it starts one, of a model of 10 clusters in 10 features. Single rows over connections that
stay open, then batches as JSON and as bytes; with ``--soak SECONDS`` all of it and bad requests at once,
while the memory of the process is watched. The client shares the cores of the machine with the service, so it
does little: it speaks HTTP on raw connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np

from rust_kmeans.workflow import save_model
from tests.workflow.served import serving, small_model

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class _Client(asyncio.Protocol):
    """Sends one request after the other over one connection, and notes how long each answer takes."""

    def __init__(self, requests: Sequence[bytes], status: bytes, until: float) -> None:
        self._requests = requests
        self._status = status
        self._until = until
        self._turn = count()
        self._received = b""
        self._missing = 0
        self.seconds: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP alone
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the service closed a connection"))

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._received += data
            head, blank, body = self._received.partition(b"\r\n\r\n")
            if not blank:
                return
            self._received = b""
            length = _LENGTH.search(head)
            if length is None or not head.startswith(self._status, 9):
                self.done.set_exception(ConnectionError((head + body)[:500].decode()))
                self._transport.abort()
                return
            self._missing = int(length[1]) - len(body)
        if not self._missing:
            now = perf_counter()
            self.seconds.append(now - self._sent)
            if now < self._until:
                self._send()
            else:
                self.done.set_result(None)
                self._transport.close()

    def _send(self) -> None:
        self._sent = perf_counter()
        self._transport.write(self._requests[next(self._turn) % len(self._requests)])


class Load(NamedTuple):
    """Requests over a number of connections."""

    requests: Sequence[bytes]
    connections: int
    status: bytes = b"200"


async def _run(port: int, loads: Sequence[Load], seconds: float) -> list[list[float]]:
    """Return the seconds of each request of each load."""
    loop = asyncio.get_running_loop()
    until = perf_counter() + seconds
    clients: list[list[_Client]] = []
    for load in loads:
        clients.append([])
        for _ in range(load.connections):
            make = partial(_Client, load.requests, load.status, until)
            _, client = await loop.create_connection(make, "127.0.0.1", port)
            clients[-1].append(client)
    await asyncio.gather(*(client.done for group in clients for client in group))
    return [[second for client in group for second in client.seconds] for group in clients]


def load(port: int, loads: Sequence[Load], seconds: float) -> list[list[float]]:
    """Put loads on a service side by side; return the seconds of each request of each."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(_run(port, loads, seconds))
    return uvloop.run(_run(port, loads, seconds))


def request(path: str, body: bytes, head: str = "Content-Type: application/json") -> bytes:
    """Return a request of HTTP/1.1."""
    lines = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n"
    return lines.encode() + body


def main() -> int:
    """Measure, and print a line a load."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="?", help="a running service without a token (else one is started)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each load")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rows", type=int, default=50_000, help="of a batch")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of everything at once")
    options = parser.parse_args()
    if options.url:
        _measure(options.url, options)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(small_model(10, 10), path)
        # Batches of any size fit.
        with serving(path, "--max-body", "256MiB") as running:
            _measure(running.url, options)
    return 0


def _measure(url: str, options: argparse.Namespace) -> None:
    port = urlsplit(url).port or 80
    with urlopen(f"{url}/model") as answer:
        model = json.load(answer)
    n_features = len(model["features"])
    random = np.random.default_rng(0)
    rows = random.standard_normal((options.rows, n_features))
    single = [
        request("/predict_cluster", json.dumps({"features": row.round(4).tolist()}).encode())
        for row in rows[:1000]
    ]
    many = [request("/predict_cluster", json.dumps({"features": rows.round(4).tolist()}).encode())]
    infer = f"/v2/models/{model['name']}/infer"
    whole, labels = (
        _binary(infer, rows, outputs) for outputs in (("label", "distances", "margin"), ("label",))
    )
    _say(f"{n_features} features, {model['n_clusters']} clusters, batches of {options.rows} rows")
    load(port, [Load(single, 4)], 1.0)
    for connections in (1, options.connections):
        _report(
            f"single rows, {connections} connections",
            load(port, [Load(single, connections)], options.seconds)[0],
            1,
            options.seconds,
        )
    for what, requests in (
        ("JSON", many),
        ("bytes, labels alone", [labels]),
        ("bytes, all outputs", [whole]),
    ):
        (seconds,) = load(port, [Load(requests, 2)], options.seconds)
        _report(f"batches as {what}, 2 connections", seconds, options.rows, options.seconds)
    if options.soak:
        bad = [
            request("/predict_cluster", body) for body in (b"[", b'{"features": ["a"]}', b'{"features": [1]}')
        ]
        _soak(url, port, [Load(single, 4), Load(many, 1), Load([whole], 1), Load(bad, 1, b"4")], options)


def _binary(path: str, rows: np.ndarray, outputs: Sequence[str]) -> bytes:
    tensor = rows.astype("<f4").tobytes()
    described = {
        "name": "features",
        "shape": rows.shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(tensor)},
    }
    head = json.dumps(
        {
            "parameters": {"binary_data_output": True},
            "inputs": [described],
            "outputs": [{"name": name} for name in outputs],
        }
    ).encode()
    fields = f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(head)}"
    return request(path, head + tensor, fields)


def _report(what: str, seconds: Sequence[float], n_rows: int, duration: float) -> None:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    rate = len(seconds) * n_rows / duration
    _say(f"{what}: {rate:,.0f} rows/s; p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {max(seconds) * 1e3:.1f} ms")


def _soak(url: str, port: int, loads: Sequence[Load], options: argparse.Namespace) -> None:
    """Print the memory of the service over time: a leak shows as growth."""
    start = perf_counter()
    sizes: list[float] = []
    n_requests = 0
    while (now := perf_counter() - start) < options.soak:
        n_requests += sum(map(len, load(port, loads, min(5.0, options.soak - now))))
        with urlopen(f"{url}/metrics") as answer:
            text = answer.read().decode()
        found = re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)
        assert found is not None, "the service does not tell its memory: Linux alone does"
        sizes.append(float(found[1]) / 2**20)
    # The first third fills caches and pools.
    third = len(sizes) // 3
    before, after = np.median(sizes[third : 2 * third]), np.median(sizes[2 * third :])
    shown = " ".join(f"{size:.0f}" for size in sizes)
    _say(f"soak of {options.soak:.0f} s, {n_requests:,} requests, some of them bad: memory {shown} MiB")
    _say(f"from the second third to the last: {after - before:+.1f} MiB")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
