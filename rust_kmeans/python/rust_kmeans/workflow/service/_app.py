"""The application: its routes, and what they share."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from rust_kmeans._core import __version__
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow.service import _metrics
from rust_kmeans.workflow.service._bodies import BINARY, JSON, read_body
from rust_kmeans.workflow.service._guard import HEALTH, Guard
from rust_kmeans.workflow.service._limits import Limits
from rust_kmeans.workflow.service._refusals import Refusal, json_response, unprocessable
from rust_kmeans.workflow.service._rows import rows_of
from rust_kmeans.workflow.service._schemas import answers, components, takes
from rust_kmeans.workflow.service._served import Served, Service
from rust_kmeans.workflow.service._tensors import (
    INPUT,
    JSON_LENGTH,
    OUTPUTS,
    inference_of,
    inference_response,
)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
logger = logging.getLogger("rust_kmeans.service")


def create_app(
    model: ClusterModel | str | Path,
    *,
    name: str | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    allowed_hosts: Collection[str] | None = LOOPBACK,
) -> FastAPI:
    """Return an application that answers with a model.

    Parameters
    ----------
    model : ClusterModel, str or Path
        What answers. From a file it can be loaded anew: by `app.state.service.reload()`, and with a token by
        `POST /reload`.
    name : str, default=None
        Of the model in the addresses of the Open Inference Protocol; None for the name of the file without
        its suffix, or "model".
    token : str, default=None
        What requests must carry as `Authorization: Bearer`; health and the page's own files are open to all.
        None where anyone who reaches the service may ask.
    limits : Limits, default=None
        What is taken on at most; None for the defaults.
    allowed_hosts : collection of str, default=("localhost", "127.0.0.1", "::1")
        Names and addresses, without port, under which the service may be addressed; None for any. It keeps
        web pages of others, whose name leads to this machine, from using it.

    Returns
    -------
    FastAPI
        The application; `app.state.service` holds what it shares.

    Raises
    ------
    ModelFileError
        If the file is no model.
    WorkflowError
        For a token that no header can carry.
    """
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
        msg = "the token must be printable ASCII without spaces around it, and not empty."
        raise WorkflowError(msg)
    service = Service(model, name, limits or Limits())

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = _Application(
        title=f"rust-kmeans: {service.name}",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.secured = token is not None
    app.add_middleware(Guard, service=service, token=token, allowed_hosts=allowed_hosts)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(Exception, _broken)
    _add_prediction(app, service)
    _add_protocol(app, service)
    _add_operation(app, service)
    _add_page(app)
    return app


class _Application(FastAPI):
    """A FastAPI whose description follows the model."""

    secured = False
    _described: Served | None = None

    def openapi(self) -> dict[str, Any]:
        """Return the description, for the model that answers now."""
        served: Served = self.state.service.served
        if self.openapi_schema is None or self._described is not served:
            described = get_openapi(title=self.title, version=self.version, routes=self.routes)
            described["components"] = {"schemas": components(served)}
            for path, operations in described["paths"].items():
                for operation in operations.values():
                    if "{name}" in path:
                        operation["parameters"][0]["schema"] = {"const": self.state.service.name}
                    if self.secured and path not in HEALTH:
                        operation["security"] = [{"token": []}]
            if self.secured:
                described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            self.openapi_schema, self._described = described, served
        return self.openapi_schema


def _add_prediction(app: _Application, service: Service) -> None:
    limits = service.limits

    @app.post(
        "/predict_cluster",
        summary="The cluster of a row, or of many",
        responses=answers("Cluster", "Clusters", token=app.secured, body=True),
        openapi_extra=takes("Rows"),
    )
    async def predict_cluster(request: Request) -> Response:
        body = await read_body(request, (JSON,), limits.max_body)
        served = service.served

        def answer() -> tuple[Any, Any, Response]:
            rows = rows_of(body, served.accepted)
            prediction = service.predict(served, rows.values)
            labels, distances, margins = (part[0] for part in prediction) if rows.alone else prediction
            content = {
                "cluster_label": labels,
                "distances_to_centroids": distances,
                "margin": margins,
                "model_id": served.model.model_id,
            }
            return rows.values, prediction, json_response(content)

        values, prediction, response = await service.work(len(body), answer)
        service.count(served, values, prediction)
        return response


def _add_protocol(app: _Application, service: Service) -> None:
    limits = service.limits

    def check(name: str) -> None:
        if name != service.name:
            reason = f"there is no model '{name[:100]}': this service has '{service.name}'."
            raise Refusal(HTTPStatus.NOT_FOUND, reason)

    @app.get("/v2/health/live", summary="Whether the service runs", responses=answers("Live"))
    async def live() -> Response:
        return json_response({"live": True})

    @app.get("/v2/health/ready", summary="Whether the service answers", responses=answers("Ready"))
    async def ready() -> Response:
        return json_response({"ready": True})

    @app.get("/v2", summary="The service", responses=answers("ServerMetadata", token=app.secured))
    async def server() -> Response:
        extensions = ["binary_tensor_data"]
        return json_response({"name": "rust-kmeans", "version": __version__, "extensions": extensions})

    @app.get(
        "/v2/models/{name}",
        summary="The model's tensors",
        responses=answers("ModelMetadata", token=app.secured, body=True),
    )
    async def metadata(name: str) -> Response:
        check(name)
        model = service.served.model
        shapes = {"label": [-1], "distances": [-1, model.n_clusters], "margin": [-1]}
        features = {"name": INPUT, "datatype": "FP64", "shape": [-1, len(model.names)]}
        outputs = [
            {"name": output, "datatype": datatype, "shape": shapes[output]}
            for output, (datatype, _) in OUTPUTS.items()
        ]
        return json_response(
            {"name": name, "platform": "rust_kmeans", "inputs": [features], "outputs": outputs}
        )

    @app.get(
        "/v2/models/{name}/ready",
        summary="Whether the model answers",
        responses=answers("ModelReady", token=app.secured, body=True),
    )
    async def model_ready(name: str) -> Response:
        check(name)
        return json_response({"name": name, "ready": True})

    @app.post(
        "/v2/models/{name}/infer",
        summary="Labels, distances and margins of a tensor of rows",
        responses=answers("InferenceResponse", token=app.secured, body=True),
        openapi_extra=takes("InferenceRequest", binary=True),
    )
    async def infer(name: str, request: Request) -> Response:
        check(name)
        body = await read_body(request, (JSON, BINARY), limits.max_body)
        json_length = request.headers.get(JSON_LENGTH)
        served = service.served

        def answer() -> tuple[Any, Any, Response]:
            inference = inference_of(body, json_length, served.accepted)
            prediction = service.predict(served, inference.values)
            response = inference_response(inference, prediction, name, served.model.model_id)
            return inference.values, prediction, response

        values, prediction, response = await service.work(len(body), answer)
        service.count(served, values, prediction)
        return response


def _add_operation(app: _Application, service: Service) -> None:
    @app.get("/model", summary="The model", responses=answers("ServedModel", token=app.secured))
    async def model() -> Response:
        model, accepted, _ = service.served
        return json_response(
            {
                "name": service.name,
                "model_id": model.model_id,
                "n_clusters": model.n_clusters,
                "n_samples": model.statistics.n_samples,
                "features": [
                    {"name": name, "may_miss": may_miss}
                    for name, may_miss in zip(accepted.names, accepted.may_miss, strict=True)
                ],
            }
        )

    figures = answers("Error", token=app.secured)
    figures[200]["content"] = {"text/plain": {"schema": {"type": "string"}}}

    @app.get(
        "/metrics", summary="Figures for Prometheus", responses=figures, response_class=PlainTextResponse
    )
    async def metrics() -> Response:
        await service.measure_drift()
        return Response(service.metrics.text(), media_type=_metrics.CONTENT_TYPE)

    if app.secured and service.path is not None:

        @app.post(
            "/reload",
            summary="Load the model's file anew",
            responses=answers("Reloaded", token=True, body=True),
        )
        async def reload() -> Response:
            try:
                loaded = await service.reload()
            except (WorkflowError, OSError) as error:
                msg = f"the model is kept: {error}"
                raise unprocessable(msg) from None
            return json_response({"model_id": loaded.model_id})


def _add_page(app: _Application) -> None:
    page = files("rust_kmeans.workflow.service") / "page"
    html, css, script = ((page / name).read_bytes() for name in ("page.html", "page.css", "page.js"))

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return Response(html, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Response:
        return Response(css, media_type="text/css")

    @app.get("/page.js", include_in_schema=False)
    async def code() -> Response:
        return Response(script, media_type="text/javascript")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return RedirectResponse("/#api")


#: The page needs nothing but itself and the service.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = f"{request.method} {request.url.path[:100]}: {error.detail}."
    return json_response({"error": reason}, error.status_code, error.headers)


async def _broken(request: Request, _error: Exception) -> Response:
    # The server writes the traceback to its log.
    reason = "the service has a defect: its log says more."
    return json_response({"error": reason}, HTTPStatus.INTERNAL_SERVER_ERROR)
