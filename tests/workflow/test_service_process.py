"""The service as a process: limits of connections, a new model under load, a graceful end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rust_kmeans.workflow import WorkflowError, save_model
from rust_kmeans.workflow.commands.serve import TOKEN, bytes_of, serve
from tests.workflow.served import COMMAND, PATIENCE, Running, serving, small_model

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")

D = 3
ROW = json.dumps({"features": [1.0, 2.0, 3.0]}).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_model(small_model(D), tmp_path / "trips.safetensors")
    return tmp_path / "trips.safetensors"


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE)


def head(length: int) -> bytes:
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"POST /predict_cluster HTTP/1.1\r\n{fields}\r\n".encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and JSON of the answer to what was sent by hand."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, dict(response.getheaders()), json.loads(response.read())


def ask(running: Running, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if path != "/metrics" else text.decode()
    finally:
        connection.close()


def test_a_graceful_end_answers_what_has_begun(path: Path) -> None:
    with serving(path) as running:
        with connect(running) as connection:
            connection.sendall(head(len(ROW)) + ROW[:5])
            # It has begun when the service counts it beside the question.
            while "rust_kmeans_requests_in_flight 2.0" not in ask(running, "GET", "/metrics")[1]:
                pass
            running.process.terminate()
            # Nobody else is let in.
            while not refused(running):
                pass
            connection.sendall(ROW[5:])
            status, headers, found = answer(connection)
            assert (status, headers["connection"]) == (200, "close")
            assert found["cluster_label"] == small_model(D).predict(np.array([[1.0, 2.0, 3.0]])).labels[0]
        said = running.process.communicate(timeout=PATIENCE)[1]
        assert running.process.returncode == 0
        assert said == "stopped\n"


def refused(running: Running) -> bool:
    try:
        connect(running).close()
    except ConnectionError:
        return True
    return False


def test_an_idle_service_ends_by_ctrl_c_and_open_connections_do_not_hold_it(path: Path) -> None:
    with serving(path) as running, connect(running) as silent, connect(running) as used:
        used.sendall(head(len(ROW)) + ROW)
        assert answer(used)[0] == 200
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0
        for connection in (silent, used):
            assert connection.recv(1) == b""


def test_a_new_model_takes_over_without_a_failed_request(path: Path) -> None:
    models = [small_model(D, clusters, seed=clusters) for clusters in (2, 3, 4, 5, 6)]
    rows = np.random.default_rng(0).standard_normal((20, D))
    by_id = {model.model_id: model for model in [small_model(D), *models]}
    expected = {name: model.predict(rows) for name, model in by_id.items()}
    body = json.dumps({"features": rows.tolist()}).encode()
    end = threading.Event()
    seen: list[set[str]] = [set(), set(), set()]
    failures: list[str] = []

    def load(mine: set[str], running: Running) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
        try:
            while not end.is_set():
                connection.request("POST", "/predict_cluster", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                found = json.loads(response.read())
                assert response.status == 200, found
                prediction = expected[found["model_id"]]
                assert found["cluster_label"] == prediction.labels.tolist()
                assert found["distances_to_centroids"] == prediction.distances.tolist()
                mine.add(found["model_id"])
        except Exception as error:  # noqa: BLE001  # told by the thread of the test
            failures.append(repr(error))
        finally:
            connection.close()

    with serving(path) as running:
        threads = [threading.Thread(target=load, args=(mine, running)) for mine in seen]
        for thread in threads:
            thread.start()
        try:
            for model in models:
                save_model(model, path)
                running.reload()
                while not failures and not all(model.model_id in mine for mine in seen):
                    end.wait(0.01)
            path.write_bytes(b"no model")
            running.reload()
            while 'reloads_total{result="failed"} 1.0' not in ask(running, "GET", "/metrics")[1]:
                pass
            assert ask(running, "POST", "/predict_cluster", ROW)[1]["model_id"] == models[-1].model_id
        finally:
            end.set()
            for thread in threads:
                thread.join()
        status, said = running.stop()
    assert failures == []
    assert status == 0
    assert f"kept model {models[-1].model_id}" in said


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that answers one request at a time, over three connections at most."""
    path = tmp_path_factory.mktemp("narrow") / "trips.safetensors"
    save_model(small_model(D), path)
    with serving(path, "--max-concurrency", "1", "--max-connections", "3") as running:
        yield running


def test_one_request_too_many_is_told_to_come_again(narrow: Running) -> None:
    with connect(narrow) as first:
        first.sendall(head(len(ROW)) + ROW[:5])
        while True:
            with connect(narrow) as second:
                second.sendall(head(len(ROW)) + ROW)
                status, headers, found = answer(second)
            # The first one's head may still be on its way.
            if status != 200:
                break
        assert (status, headers["retry-after"]) == (503, "1")
        assert "busy" in found["error"]
        with connect(narrow) as third:
            third.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer(third)[0] == 200
        first.sendall(ROW[5:])
        assert answer(first)[0] == 200


def test_one_connection_too_many_is_closed(narrow: Running) -> None:
    connections = [accepted(narrow) for _ in range(3)]
    try:
        with connect(narrow) as another:
            assert closed(another)
    finally:
        for connection in connections:
            connection.close()
    # The places are free again.
    accepted(narrow).close()


def accepted(running: Running) -> socket.socket:
    """Return a connection that has been answered, as soon as there is a place for it."""
    while True:
        connection = connect(running)
        try:
            connection.sendall(head(len(ROW)) + ROW)
            assert answer(connection)[0] == 200
        except (ConnectionError, http.client.BadStatusLine):
            connection.close()
        else:
            return connection


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of little patience and small bodies, for tests that leave it as it is."""
    path = tmp_path_factory.mktemp("strict") / "trips.safetensors"
    save_model(small_model(D), path)
    with serving(path, "--timeout", "0.5", "--max-body", "1KiB") as running:
        yield running
        # Whatever it was sent: it still answers.
        assert ask(running, "POST", "/predict_cluster", ROW)[0] == 200


@pytest.mark.parametrize("begun", [b"", b"\r\n\r\n", b"POST /predict_cluster HTTP/1.1\r\nHost: lo"])
def test_a_head_that_never_ends_does_not_hold_a_connection(strict: Running, begun: bytes) -> None:
    with connect(strict) as connection:
        connection.sendall(begun)
        assert closed(connection)


def test_a_head_without_end_is_cut_off(strict: Running) -> None:
    with connect(strict) as connection, pytest.raises(ConnectionError):  # noqa: PT012  # whichever write it is
        connection.sendall(b"POST / HTTP/1.1\r\n")
        while True:
            connection.sendall(b"x-more: " + b"y" * 10_000 + b"\r\n")


def test_a_body_that_does_not_come_is_given_up(strict: Running) -> None:
    with connect(strict) as connection:
        connection.sendall(head(len(ROW)) + ROW[:5])
        status, headers, found = answer(connection)
        assert (status, headers["connection"]) == (408, "close")
        assert "too long to arrive" in found["error"]
        assert closed(connection)


def test_the_rest_of_a_body_that_is_too_large_is_thrown_away(strict: Running) -> None:
    with connect(strict) as connection:
        connection.sendall(head(2_000_000))
        assert answer(connection)[0] == 413
        connection.sendall(b" " * 2_000_000 + head(len(ROW)) + ROW)
        assert answer(connection)[0] == 200
    with connect(strict) as connection:
        connection.sendall(head(2_000_000))
        assert answer(connection)[0] == 413
        assert closed(connection)


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\x00" * 10_000])
def test_what_is_no_http_does_no_harm(strict: Running, nonsense: bytes) -> None:
    with connect(strict) as connection:
        connection.sendall(nonsense)
        connection.shutdown(socket.SHUT_WR)
        closed(connection)


def test_a_mistake_is_one_line(path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "serve", str(path.with_name("none"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_served_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(WorkflowError, match="open to other machines"):
        serve(path, host="0.0.0.0", port=0)
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(WorkflowError, match="cannot listen"),
    ):
        serve(path, port=taken.getsockname()[1])
    (tmp_path / "token").write_text("\n", encoding="utf-8")
    with pytest.raises(WorkflowError, match="holds no token"):
        serve(path, token_file=tmp_path / "token")
    with pytest.raises(WorkflowError, match="is no size"):
        serve(path, max_body="many")
    with pytest.raises(WorkflowError, match="is no number of rows"):
        serve(path, max_rows="many")


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("64KiB", 65536), (" 16 mib ", 1 << 24), ("0.5GiB", 1 << 29), ("1e3", 1000)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e400", "KiB", "16MB", "1 TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(WorkflowError, match="is no size"):
        bytes_of(text)


@pytest.fixture
def described(path: Path) -> Iterator[Running]:
    with serving(path, token="secret") as running:
        yield running


def test_schemathesis_finds_nothing(described: Running, tmp_path: Path) -> None:
    settings = tmp_path / "schemathesis.toml"
    # That a tensor has as many values as its shape says is beyond JSON Schema.
    settings.write_text(
        """
[[operations]]
include-name = "POST /v2/models/{name}/infer"
checks.positive_data_acceptance.enabled = false
""",
        encoding="utf-8",
    )
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    token = ["--header", "Authorization: Bearer secret"]
    command = [program, "--config-file", str(settings), "run", f"{described.url}/openapi.json", *token]
    done = subprocess.run(
        [*command, "--max-examples", "15", "--generation-deterministic", "--no-color"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    status, said = described.stop()
    assert (status, "defect" in said or "Traceback" in said) == (0, False), said
