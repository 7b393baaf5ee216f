"""The description of the service in OpenAPI: exactly what is accepted, for the model that answers now."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from rust_kmeans.workflow.service._bodies import BINARY, JSON
from rust_kmeans.workflow.service._rows import Accepted
from rust_kmeans.workflow.service._served import Served
from rust_kmeans.workflow.service._tensors import DATATYPES, INPUT, JSON_LENGTH, OUTPUTS

Schema = dict[str, Any]


def components(served: Served) -> dict[str, Schema]:
    """Return the schemas that routes refer to.

    Parameters
    ----------
    served : Served
        The model and what it takes.

    Returns
    -------
    dict of str to dict
        By name, as JSON Schema.
    """
    model, accepted, _ = served
    n_clusters = model.n_clusters
    label = {"type": "integer", "minimum": 0, "maximum": n_clusters - 1}
    distances = _array({"type": "number", "minimum": 0}, n_clusters)
    # Of one cluster there is no second nearest.
    margin = {"type": "null"} if n_clusters == 1 else {"type": "number", "minimum": 0}
    return {
        "Error": _object({"error": {"type": "string"}}),
        "Rows": _rows(accepted),
        "Cluster": _object(
            {
                "cluster_label": label,
                "distances_to_centroids": distances,
                "margin": margin,
                "model_id": {"type": "string"},
            }
        ),
        "Clusters": _object(
            {
                "cluster_label": {"type": "array", "items": label},
                "distances_to_centroids": {"type": "array", "items": distances},
                "margin": {"type": "array", "items": margin},
                "model_id": {"type": "string"},
            }
        ),
        "InferenceRequest": _inference_request(accepted),
        "InferenceResponse": _inference_response(),
        "ServedModel": _object(
            {
                "name": {"type": "string"},
                "model_id": {"type": "string"},
                "n_clusters": {"type": "integer"},
                "n_samples": {"type": "integer"},
                "features": {
                    "type": "array",
                    "items": _object({"name": {"type": "string"}, "may_miss": {"type": "boolean"}}),
                },
            }
        ),
        "ModelMetadata": _object(
            {
                "name": {"type": "string"},
                "platform": {"type": "string"},
                "inputs": {"type": "array", "items": _tensor_metadata()},
                "outputs": {"type": "array", "items": _tensor_metadata()},
            }
        ),
        "ServerMetadata": _object(
            {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "extensions": {"type": "array", "items": {"type": "string"}},
            }
        ),
        "Live": _object({"live": {"const": True}}),
        "Ready": _object({"ready": {"const": True}}),
        "ModelReady": _object({"name": {"type": "string"}, "ready": {"const": True}}),
        "Reloaded": _object({"model_id": {"type": "string"}}),
    }


def answers(*names: str, token: bool = False, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route: one of the named schemas, or an error."""
    schemas = [_reference(name) for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    problems = [HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.MISDIRECTED_REQUEST]
    problems += [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT]
    if token:
        problems += [HTTPStatus.UNAUTHORIZED]
    if body:
        problems += [
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ]
    error = {"content": {JSON: {"schema": _reference("Error")}}}
    described: dict[int | str, dict[str, Any]] = {
        200: {"description": "The answer.", "content": {JSON: {"schema": schema}}}
    }
    return described | {int(status): error | {"description": status.phrase} for status in sorted(problems)}


def takes(name: str, *, binary: bool = False) -> dict[str, Any]:
    """Return the description of a route's body: the named schema, perhaps with bytes after it."""
    content: dict[str, Any] = {JSON: {"schema": _reference(name)}}
    described: dict[str, Any] = {"requestBody": {"required": True, "content": content}}
    if binary:
        content[BINARY] = {"schema": {"type": "string", "format": "binary"}}
        described["parameters"] = [
            {
                "name": JSON_LENGTH,
                "in": "header",
                "required": False,
                "description": "Bytes of the JSON, where the bytes of the tensor follow it.",
                "schema": {"type": "integer", "minimum": 0},
            }
        ]
    return described


def _rows(accepted: Accepted) -> Schema:
    within = {"minimum": -accepted.largest, "maximum": accepted.largest}
    values = [
        {"type": ["number", "null"] if may_miss else "number", **within} for may_miss in accepted.may_miss
    ]
    row: Schema = {
        "title": "Row",
        "type": "array",
        "prefixItems": values,
        # Beyond the described items there are none: the count says so.
        "items": {"type": ["number", "null"]},
        "minItems": len(values),
        "maxItems": len(values),
    }
    named = _object(dict(zip(accepted.names, values, strict=True))) | {"title": "Row by name"}
    many = {"minItems": 1, "maxItems": accepted.max_rows}
    return _object(
        {
            "features": {
                "anyOf": [
                    row,
                    named,
                    {"title": "Rows", "type": "array", "items": row, **many},
                    {"title": "Rows by name", "type": "array", "items": named, **many},
                ]
            }
        }
    )


def _inference_request(accepted: Accepted) -> Schema:
    """Return the schema of the protocol's request: that `data` has as many values as `shape` is beyond it."""
    value = {"type": ["number", "null"], "minimum": -accepted.largest, "maximum": accepted.largest}
    n_features = len(accepted.names)
    size = {"type": "integer", "minimum": 1, "maximum": accepted.max_rows}
    tensor = {
        "type": "object",
        "properties": {
            "name": {"const": INPUT},
            "shape": {
                "type": "array",
                "prefixItems": [size, {"const": n_features}],
                "items": {"type": "integer"},
                "minItems": 2,
                "maxItems": 2,
            },
            "datatype": {"enum": list(DATATYPES)},
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": {"anyOf": [value, {"type": "array", "items": value}]}},
        },
        "required": ["name", "shape", "datatype"],
    }
    output = {
        "type": "object",
        "properties": {"name": {"enum": list(OUTPUTS)}, "parameters": {"type": "object"}},
        "required": ["name"],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
            "outputs": {"type": "array", "items": output, "maxItems": len(OUTPUTS)},
        },
        "required": ["inputs"],
    }


def _inference_response() -> Schema:
    output = {
        "type": "object",
        "properties": {
            "name": {"enum": list(OUTPUTS)},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": sorted({datatype for datatype, _ in OUTPUTS.values()})},
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": {"type": ["number", "null"]}},
        },
        "required": ["name", "shape", "datatype"],
    }
    return {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": output},
        },
        "required": ["model_name", "model_version", "outputs"],
    }


def _tensor_metadata() -> Schema:
    return _object(
        {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
        }
    )


def _object(properties: dict[str, Any]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(item: Schema, size: int) -> Schema:
    return {"type": "array", "items": item, "minItems": size, "maxItems": size}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
