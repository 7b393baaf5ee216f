"""What the service answers: the model's own bits, or a reason; never a failure."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rust_kmeans.workflow import ClusterModel, WorkflowError, save_model
from rust_kmeans.workflow.service import Limits, _served, create_app
from tests.workflow.served import small_model

JSON = {"content-type": "application/json"}
#: Features and clusters of the model.
D, K = 3, 4


class Client:
    """Asks an application without a network between."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def send(self, method: str, path: str, **rest: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **rest)

    def ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        return asyncio.run(self.send(method, path, **rest))

    def predict(self, features: object) -> httpx.Response:
        return self.ask("POST", "/predict_cluster", json={"features": features})

    def raw(self, body: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
        return self.ask("POST", "/predict_cluster", content=body, headers=headers)

    def infer(self, document: object) -> httpx.Response:
        return self.ask("POST", "/v2/models/model/infer", json=document)


@pytest.fixture(scope="module")
def model() -> ClusterModel:
    return small_model(D, K, may_miss=False)


@pytest.fixture(scope="module")
def client(model: ClusterModel) -> Client:
    return Client(create_app(model))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((50, D)) * 3


def reason(response: httpx.Response, status: int) -> str:
    """Return why a request was turned away, after a look at how."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert answer.keys() == {"error"}
    error: str = answer["error"]
    assert "\n" not in error
    assert error.endswith(".")
    return error


def test_a_row_gets_the_bits_of_predict(client: Client, model: ClusterModel, rows: np.ndarray) -> None:
    expected = model.predict(rows)
    for i, row in enumerate(rows[:10]):
        answer = client.predict(row.tolist()).json()
        assert answer == {
            "cluster_label": int(expected.labels[i]),
            "distances_to_centroids": expected.distances[i].tolist(),
            "margin": expected.margins[i],
            "model_id": model.model_id,
        }
        assert client.predict(dict(zip(model.names, row.tolist(), strict=True))).json() == answer


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("n_rows", [1, 2, 50, 20_000])
def test_many_rows_get_the_bits_of_predict(
    client: Client, model: ClusterModel, rows: np.ndarray, n_rows: int, named: bool
) -> None:
    values = np.resize(rows, (n_rows, D))
    features: list[Any] = values.tolist()
    if named:
        features = [dict(zip(model.names, row, strict=True)) for row in features]
    answer = client.predict(features).json()
    expected = model.predict(values)
    assert answer["cluster_label"] == expected.labels.tolist()
    assert answer["distances_to_centroids"] == expected.distances.tolist()
    assert answer["margin"] == expected.margins.tolist()


def test_null_is_missing_where_the_model_allows_it(client: Client, model: ClusterModel) -> None:
    expected = model.predict(np.array([[np.nan, 1.0, 2.0]]))
    assert client.predict([None, 1, 2]).json()["margin"] == expected.margins[0]
    assert "'x2' that is missing" in reason(client.predict([0, 1, None]), 422)


def test_a_model_of_one_cluster_has_no_margin() -> None:
    client = Client(create_app(small_model(2, 1)))
    assert client.predict([0, 0]).json()["margin"] is None
    assert client.predict([[0, 0], [1, 1]]).json()["margin"] == [None, None]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([1, 2], "row 0 has 2 values: it must have 3"),
        ([], "row 0 has 0 values"),
        ([[]], "row 0 has 0 values"),
        ([[1, 2, 3], [1, 2]], "row 1 has 2 values"),
        ([[1, 2, 3], 4], "row 1 is a number"),
        ([[1, 2, 3], {"x0": 1}], "row 1 is an object"),
        ([1, 2, [3]], "row 0 has an array for 'x2'"),
        ([1, 2, "3"], "row 0 has a string for 'x2'"),
        ([1, True, 3], "row 0 has a boolean for 'x1'"),
        ([[1, 2, 3], [1, False, 3]], "row 1 has a boolean for 'x1'"),
        ([1, 2, {}], "row 0 has an object for 'x2'"),
        ([1, 1e39, 3], "row 0 has a value of 'x1' beyond 1e+38"),
        ([1, -(10**300), 3], "row 0 has a value of 'x1' beyond 1e+38"),
        ({"x0": 1, "x1": 2}, "row 0 has no 'x2'"),
        ({"x0": 1, "x1": 2, "x2": 3, "<b>": 4}, "row 0 has '<b>', which the model does not know"),
        ({}, "row 0 has no 'x0', 'x1', 'x2'"),
        ([{"x0": 1, "x1": 2, "x2": 3}, {"x0": 1}], "row 1 has no 'x1', 'x2'"),
        ("1,2,3", "'features' is a string"),
        (None, "'features' is null"),
        (7, "'features' is a number"),
    ],
)
def test_rows_that_are_wrong_get_the_reason(client: Client, features: object, said: str) -> None:
    assert said in reason(client.predict(features), 422)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "cannot be read as JSON"),
        (b'{"features": [1, NaN, 3]}', 400, "null says what is missing"),
        (b'{"features": [1, Infinity, 3]}', 400, "cannot be read as JSON"),
        (b'{"features": [1, 1e400, 3]}', 400, "infinity"),
        (b'{"features": [1, ' + b"1" * 400 + b", 3]}", 400, "infinity"),
        (b'{"features": [1, ' + b"1" * 300 + b", 3]}", 422, "too large"),
        (b'{"features": [1, 2, 3]} x', 400, "cannot be read as JSON"),
        (b"\xff\xfe", 400, "cannot be read as JSON"),
        (b'{"features": ["\xff"]}', 400, "cannot be read as JSON"),
        (b"[1, 2, 3]", 422, "the body is an array"),
        (b"null", 422, "the body is null"),
        (b"{}", 422, "'features' is missing"),
        (b'{"features": [1, 2, 3], "more": 1}', 422, "'more' is not known"),
        (b'{"features": [9, 9, 9], "features": [1, 2, 3]}', 422, "'features' is named more than once"),
        (b'{"features": {"x0": 1, "x0": 2, "x1": 2, "x2": 3}}', 422, "'x0' is named more than once"),
        (b'{"features": {"x0": 1, "\\u00780": 2, "x1": 2, "x2": 3}}', 422, "'x0' is named more than once"),
        (b"[" * 100_000, 400, "cannot be read as JSON"),
        (b'{"features": ' + b"[" * 500 + b"]" * 500 + b"}", 422, "row 0"),
        (b'{"features": ' + b'{"a":' * 100_000, 400, "cannot be read as JSON"),
    ],
)
def test_bodies_that_are_wrong_get_the_reason(client: Client, body: bytes, status: int, said: str) -> None:
    assert said in reason(client.raw(body), status)


def test_bodies_of_other_types_are_refused(client: Client) -> None:
    body = b'{"features": [1, 2, 3]}'
    assert client.raw(body, {"content-type": "application/json; charset=utf-8"}).status_code == 200
    assert "there is no content-type" in reason(client.raw(body, {}), 415)
    assert "'text/plain'" in reason(client.raw(body, {"content-type": "text/plain"}), 415)
    assert "not compressed" in reason(client.raw(body, JSON | {"content-encoding": "gzip"}), 415)


def test_limits_of_body_and_rows(model: ClusterModel) -> None:
    client = Client(create_app(model, limits=Limits(max_body=200, max_rows=3)))
    assert client.predict([[1, 2, 3]] * 3).status_code == 200
    assert "at most 3 at a time" in reason(client.predict([[1, 2, 3]] * 4), 413)
    assert "larger than 200 bytes" in reason(client.raw(b" " * 201), 413)

    async def parts() -> Any:
        for _ in range(50):
            yield b" " * 10

    async def ask() -> httpx.Response:
        return await client.send("POST", "/predict_cluster", content=parts(), headers=JSON)

    assert "larger than 200 bytes" in reason(asyncio.run(ask()), 413)


@pytest.mark.parametrize("limit", ["max_body", "max_rows", "timeout", "max_concurrency", "max_connections"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_positive(limit: str, value: float) -> None:
    with pytest.raises(WorkflowError, match=f"{limit} is"):
        Limits(**{limit: value})  # type: ignore[arg-type]  # wrong on purpose


def numbers(*, allow: Callable[[], Any] = st.none) -> Any:
    return st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.booleans(), allow())


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    numbers(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["x0", "x1", "x2", "features", "data", "shape"]), inner, max_size=4),
    ),
    max_leaves=12,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.just("features"), JSON_VALUES),
        "shape": st.one_of(st.just([1, D]), st.just([2**70, D]), JSON_VALUES),
        "datatype": st.one_of(st.sampled_from(["FP32", "FP64", "INT8"]), JSON_VALUES),
        "data": st.one_of(st.just([1.0, 2.0, 3.0]), JSON_VALUES),
        "parameters": st.one_of(st.just({"binary_data_size": 24}), JSON_VALUES),
    },
)
INFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.one_of(st.lists(TENSORS, max_size=2), JSON_VALUES),
        "outputs": st.one_of(st.just([{"name": "label"}]), JSON_VALUES),
        "parameters": JSON_VALUES,
        "id": JSON_VALUES,
    },
)
_FUZZ = settings(
    max_examples=250,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_answered(response: httpx.Response) -> None:
    assert 200 <= response.status_code < 500, response.text
    if response.status_code != 200:
        reason(response, response.status_code)


@_FUZZ
@given(features=JSON_VALUES)
def test_any_features_are_answered_or_refused(client: Client, features: object) -> None:
    check_answered(client.raw(json.dumps({"features": features}).encode()))


@_FUZZ
@given(
    body=st.one_of(
        st.binary(max_size=60), st.text('[]{}",:0123456789eE+-.naultrsf x\\', max_size=60).map(str.encode)
    )
)
def test_any_bytes_are_answered_or_refused(client: Client, body: bytes) -> None:
    check_answered(client.raw(body))


@_FUZZ
@given(
    document=INFERENCES,
    tail=st.binary(max_size=30),
    length=st.one_of(st.none(), st.integers(-5, 200), st.text("0123456789a ", max_size=30)),
)
def test_any_inference_is_answered_or_refused(
    client: Client, document: object, tail: bytes, length: int | str | None
) -> None:
    text = json.dumps(document).encode()
    headers = {"content-type": "application/octet-stream"}
    if length is not None:
        # As often as not the right one.
        headers["inference-header-content-length"] = str(
            len(text) if isinstance(length, int) and length > 0 else length
        )
    check_answered(client.ask("POST", "/v2/models/model/infer", content=text + tail, headers=headers))


def tensor(values: Any, **rest: Any) -> dict[str, Any]:
    return {"name": "features", "shape": [len(values), D], "datatype": "FP64", "data": values, **rest}


def test_a_tensor_gets_the_bits_of_predict(client: Client, model: ClusterModel, rows: np.ndarray) -> None:
    expected = model.predict(rows)
    for data in (rows.tolist(), rows.ravel().tolist()):
        answer = client.infer({"id": "seven", "inputs": [tensor(rows.tolist()) | {"data": data}]}).json()
        assert (answer["id"], answer["model_name"], answer["model_version"]) == (
            "seven",
            "model",
            model.model_id,
        )
        label, distances, margin = answer["outputs"]
        assert label == {
            "name": "label",
            "datatype": "INT32",
            "shape": [50],
            "data": expected.labels.tolist(),
        }
        assert distances["shape"] == [50, K]
        assert distances["data"] == expected.distances.ravel().tolist()
        assert margin["data"] == expected.margins.tolist()


def binary_request(
    rows: np.ndarray, dtype: str, outputs: list[dict[str, Any]] | None = None
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a tensor as bytes."""
    tail = rows.astype(dtype).tobytes()
    described = {
        "name": "features",
        "shape": list(rows.shape),
        "datatype": {"<f4": "FP32", "<f8": "FP64"}[dtype],
        "parameters": {"binary_data_size": len(tail)},
    }
    document: dict[str, Any] = {"inputs": [described], "parameters": {"binary_data_output": True}}
    if outputs is not None:
        document["outputs"] = outputs
    head = json.dumps(document).encode()
    return head + tail, {
        "content-type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("n_rows", [1, 50, 30_000])
def test_a_tensor_of_bytes_gets_the_bits_of_predict(
    client: Client, model: ClusterModel, rows: np.ndarray, dtype: str, n_rows: int
) -> None:
    values = np.resize(rows, (n_rows, D))
    body, headers = binary_request(values, dtype)
    response = client.ask("POST", "/v2/models/model/infer", content=body, headers=headers)
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    outputs = json.loads(response.content[:length])["outputs"]
    expected = model.predict(values.astype(dtype).astype(np.float64))
    first = length
    arrays: tuple[np.ndarray, ...] = expected
    for output, array, wire in zip(outputs, arrays, ("<i4", "<f8", "<f8"), strict=True):
        size = output["parameters"]["binary_data_size"]
        found = np.frombuffer(response.content[first : first + size], wire).reshape(output["shape"])
        assert found.tobytes() == array.tobytes()
        first += size
    assert first == len(response.content)


def test_outputs_can_be_chosen_each_in_its_form(client: Client, rows: np.ndarray) -> None:
    outputs: list[dict[str, Any]] = [
        {"name": "margin", "parameters": {"binary_data": False}},
        {"name": "label"},
    ]
    body, headers = binary_request(rows, "<f8", outputs)
    response = client.ask("POST", "/v2/models/model/infer", content=body, headers=headers)
    length = int(response.headers["inference-header-content-length"])
    margin, label = json.loads(response.content[:length])["outputs"]
    assert (margin["name"], len(margin["data"])) == ("margin", 50)
    assert (label["name"], len(response.content)) == ("label", length + 4 * 50)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "x"}, "the name of the input"),
        ({"datatype": "INT8"}, "the datatype"),
        ({"shape": [1, D + 1]}, "the shape"),
        ({"shape": [D]}, "the shape"),
        ({"shape": [-1, D]}, "the shape"),
        ({"shape": [0, D]}, "there are no rows"),
        ({"shape": [2, D]}, "the arrays of 'data' are not 2 of 3"),
        ({"data": [1, 2]}, "'data' has 2 values"),
        ({"data": [1, 2, "3"]}, "a string for 'x2'"),
        ({"data": [[1, 2], [3]]}, "the arrays of 'data'"),
        ({"datatype": "FP32", "data": [1e300, 2, 3]}, "too large"),
        ({"parameters": {"binary_data_size": 12}}, "0 bytes after the JSON"),
        ({"parameters": 3}, "'parameters' is a number"),
    ],
)
def test_tensors_that_are_wrong_get_the_reason(client: Client, change: dict[str, Any], said: str) -> None:
    document = {"inputs": [tensor([[1.0, 2.0, 3.0]], **change)]}
    assert said in reason(client.infer(document), 422)


def test_nan_in_bytes_and_wrong_lengths_get_the_reason(client: Client) -> None:
    def ask(body: bytes, headers: dict[str, str]) -> httpx.Response:
        return client.ask("POST", "/v2/models/model/infer", content=body, headers=headers)

    for value, said in ((np.nan, "NaN for 'x1'"), (np.inf, "too large")):
        assert said in reason(ask(*binary_request(np.array([[1.0, value, 3.0]]), "<f4")), 422)
    body, headers = binary_request(np.ones((2, D)), "<f8")
    assert "bytes after the JSON" in reason(ask(body[:-1], headers), 422)
    assert "bytes after the JSON" in reason(ask(body + b"x", headers), 422)
    name = "Inference-Header-Content-Length"
    for length in ("-1", "x", "9" * 30, str(len(body) + 1)):
        assert "must be a number of bytes" in reason(ask(body, headers | {name: length}), 400)
    outputs = [{"name": "label"}, {"name": "label"}]
    assert "asked for twice" in reason(ask(*binary_request(np.ones((1, D)), "<f8", outputs)), 422)
    deep = b'{"inputs": [' + json.dumps(tensor([[1.0, 2.0, 3.0]])).encode() + b'], "parameters": {"a": %s}}'
    for depth in (500, 1_000, 5_000):
        check_answered(ask(deep % (b"[" * depth + b"]" * depth), JSON))


def test_the_protocol_describes_the_model(client: Client) -> None:
    assert client.ask("GET", "/v2/health/live").json() == {"live": True}
    assert client.ask("GET", "/v2/health/ready").json() == {"ready": True}
    assert client.ask("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.ask("GET", "/v2/models/model/ready").json() == {"name": "model", "ready": True}
    metadata = client.ask("GET", "/v2/models/model").json()
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, D]}]
    assert [output["shape"] for output in metadata["outputs"]] == [[-1], [-1, K], [-1]]
    assert "there is no model 'other'" in reason(client.ask("GET", "/v2/models/other"), 404)
    assert "there is no model 'other'" in reason(client.ask("POST", "/v2/models/other/infer", json={}), 404)


def test_what_is_not_there_is_an_error_like_others(client: Client) -> None:
    assert "Not Found" in reason(client.ask("GET", "/nothing"), 404)
    response = client.ask("GET", "/predict_cluster")
    assert "Method Not Allowed" in reason(response, 405)
    assert response.headers["allow"] == "POST"


def test_pages_of_others_cannot_use_the_service(client: Client, model: ClusterModel) -> None:
    body = b'{"features": [1, 2, 3]}'
    assert "goes by" in reason(client.raw(body, JSON | {"host": "evil.example"}), 421)
    assert "goes by" in reason(client.raw(body, JSON | {"host": "localhost.evil.example:80"}), 421)
    assert "may not use" in reason(client.raw(body, JSON | {"origin": "http://evil.example"}), 403)
    assert "may not use" in reason(client.raw(body, JSON | {"origin": "null"}), 403)
    for host in ("localhost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"):
        assert client.raw(body, JSON | {"host": host, "origin": f"http://{host}"}).status_code == 200
    anyone = Client(create_app(model, allowed_hosts=None))
    assert anyone.raw(body, JSON | {"host": "any.example"}).status_code == 200
    named = Client(create_app(model, allowed_hosts=["models.example"]))
    assert named.raw(body, JSON | {"host": "models.example:443"}).status_code == 200
    reason(named.raw(body, JSON), 421)


def test_a_token_is_asked_for_everywhere_but_health_and_the_page(model: ClusterModel) -> None:
    client = Client(create_app(model, token="a secret"))
    body = b'{"features": [1, 2, 3]}'
    for given_token in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic a secret"}):
        response = client.raw(body, JSON | given_token)
        reason(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.raw(body, JSON | {"authorization": "Bearer a secret"}).status_code == 200
    for path in ("/v2/health/live", "/v2/health/ready", "/", "/page.css", "/page.js"):
        assert client.ask("GET", path).status_code == 200
    for path in ("/v2", "/v2/models/model", "/model", "/metrics", "/openapi.json", "/nothing"):
        reason(client.ask("GET", path), 401)
    for token in ("", "ä", "a\nb", " a"):
        with pytest.raises(WorkflowError, match="token"):
            create_app(model, token=token)


def test_the_page_allows_nothing_from_elsewhere(client: Client) -> None:
    page = client.ask("GET", "/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.ask("GET", "/docs").headers["location"] == "/#api"


def test_an_answer_that_takes_too_long_is_given_up(
    model: ClusterModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(model, limits=Limits(timeout=0.2, max_concurrency=1))
    client, service = Client(app), app.state.service
    many = [[1.0, 2.0, 3.0]] * 20_000
    end = threading.Event()
    predict = service.predict

    def wait(*arguments: Any) -> Any:
        end.wait()
        return predict(*arguments)

    monkeypatch.setattr(service, "predict", wait)
    assert "took too long" in reason(client.predict(many), 504)
    # The work goes on, and nothing is put on top of it.
    response = client.predict(many)
    reason(response, 503)
    assert response.headers["retry-after"] == "1"
    end.set()
    monkeypatch.undo()
    while client.predict(many).status_code != 200:
        pass


def test_a_body_that_does_not_arrive_is_given_up(model: ClusterModel) -> None:
    client = Client(create_app(model, limits=Limits(timeout=0.2)))

    async def endless() -> Any:
        yield b"{"
        await asyncio.Event().wait()

    async def ask() -> httpx.Response:
        return await client.send("POST", "/predict_cluster", content=endless(), headers=JSON)

    assert "took too long to arrive" in reason(asyncio.run(ask()), 408)


def test_a_defect_is_an_error_like_others_and_the_service_stays(
    model: ClusterModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(model)
    client = Client(app)
    monkeypatch.setattr(app.state.service, "predict", lambda *_: 1 / 0)
    assert "defect" in reason(client.predict([1, 2, 3]), 500)
    monkeypatch.undo()
    assert client.predict([1, 2, 3]).status_code == 200


def figure(client: Client, name: str) -> float:
    lines = client.ask("GET", "/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])


def test_metrics_count_requests_rows_and_clusters(model: ClusterModel, rows: np.ndarray) -> None:
    client = Client(create_app(model, name="taxi"))
    client.predict(rows.tolist())
    client.predict(rows[0].tolist())
    client.predict(["a"])
    client.ask("GET", "/nothing/of/mine")
    assert figure(client, 'rust_kmeans_requests_total{route="/predict_cluster",status="200"}') == 2
    assert figure(client, 'rust_kmeans_requests_total{route="/predict_cluster",status="422"}') == 1
    assert figure(client, 'rust_kmeans_requests_total{route="other",status="404"}') == 1
    assert figure(client, 'rust_kmeans_request_seconds_count{route="/predict_cluster"}') == 3
    assert figure(client, "rust_kmeans_rows_total") == 51
    labels = model.predict(np.vstack([rows, rows[:1]])).labels
    for label, number in enumerate(np.bincount(labels, minlength=K)):
        assert figure(client, f'rust_kmeans_cluster_rows_total{{cluster="{label}"}}') == number
    told = f'{{model_id="{model.model_id}",n_clusters="{K}",n_features="{D}",name="taxi"}}'
    text = client.ask("GET", "/metrics").text
    assert any(
        line.startswith("rust_kmeans_model_info{") and model.model_id in line for line in text.splitlines()
    ), told
    # The question itself.
    assert figure(client, "rust_kmeans_requests_in_flight") == 1


def test_metrics_tell_of_drift_in_the_last_rows(model: ClusterModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_served, "DRIFT_SECONDS", 0.0)
    client = Client(create_app(model))
    # As the model was fitted to.
    rows = np.random.default_rng(7).standard_normal((2_000, D)) * 2
    assert figure(client, "rust_kmeans_drift_rows") == 0
    client.predict(rows.tolist())
    assert figure(client, "rust_kmeans_drift_rows") == 2_000
    assert figure(client, "rust_kmeans_drift_alarm") == 0
    assert figure(client, 'rust_kmeans_drift_psi{feature="x1"}') < 0.1
    client.predict((rows + np.array([0, 3, 0])).tolist() * 5)
    assert figure(client, "rust_kmeans_drift_alarm") == 1
    assert figure(client, 'rust_kmeans_drift_psi{feature="x1"}') > 0.2
    assert figure(client, 'rust_kmeans_drift_psi{feature="x0"}') < 0.1


def test_drift_is_not_computed_anew_for_everyone_who_asks(model: ClusterModel) -> None:
    client = Client(create_app(model))
    rows = np.random.default_rng(7).standard_normal((100, D)).tolist()
    for _ in range(3):
        client.predict(rows)
        assert figure(client, "rust_kmeans_drift_rows") == 100


def test_a_model_that_knows_no_training_rows_is_served(model: ClusterModel) -> None:
    client = Client(create_app(replace(model, statistics=replace(model.statistics, n_sampled=0))))
    assert client.predict([1, 2, 3]).status_code == 200
    assert figure(client, "rust_kmeans_drift_rows") == 0


def test_a_model_is_loaded_anew_and_a_bad_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "trips.safetensors"
    before, after = small_model(2, 3), small_model(4, 2, seed=5)
    save_model(before, path)
    client = Client(create_app(path, token="secret"))
    client_headers = {"authorization": "Bearer secret"}

    def reload() -> httpx.Response:
        return client.ask("POST", "/reload", headers=client_headers)

    def served() -> dict[str, Any]:
        answer: dict[str, Any] = client.ask("GET", "/model", headers=client_headers).json()
        return answer

    assert (served()["name"], served()["model_id"]) == ("trips", before.model_id)
    save_model(after, path)
    assert served()["model_id"] == before.model_id
    assert reload().json() == {"model_id": after.model_id}
    assert [feature["name"] for feature in served()["features"]] == ["x0", "x1", "x2", "x3"]
    described = client.ask("GET", "/openapi.json", headers=client_headers).json()
    row = described["components"]["schemas"]["Rows"]["properties"]["features"]["anyOf"][0]
    assert (row["minItems"], row["maxItems"]) == (4, 4)
    path.write_bytes(path.read_bytes()[:-1] + struct.pack("B", path.read_bytes()[-1] ^ 1))
    assert "the model is kept" in reason(reload(), 422)
    path.unlink()
    reason(reload(), 422)
    assert served()["model_id"] == after.model_id
    text = client.ask("GET", "/metrics", headers=client_headers).text
    assert 'rust_kmeans_model_reloads_total{result="failed"} 2.0' in text
    assert 'rust_kmeans_model_reloads_total{result="done"} 1.0' in text


def test_without_a_token_nobody_loads_a_model_from_outside(tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "model.safetensors")
    client = Client(create_app(tmp_path / "model.safetensors"))
    reason(client.ask("POST", "/reload"), 404)
