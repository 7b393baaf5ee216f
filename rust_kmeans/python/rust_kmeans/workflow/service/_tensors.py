"""Tensors of the Open Inference Protocol, version 2: as JSON, or as bytes after the JSON.

Source: https://github.com/kserve/open-inference-protocol (inference_rest.md), and for the bytes the extension
"binary tensor data" of Triton: https://github.com/triton-inference-server/server (extension_binary_data.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from rust_kmeans.workflow._model import Prediction
from rust_kmeans.workflow.service._bodies import BINARY, few, kind_of, object_of, refuse_repeated_names
from rust_kmeans.workflow.service._refusals import Refusal, json_response, unprocessable
from rust_kmeans.workflow.service._rows import Accepted

#: How many bytes of a body are its JSON, where bytes of tensors follow.
JSON_LENGTH = "inference-header-content-length"
#: The one input.
INPUT = "features"
#: Datatypes of the input.
DATATYPES: dict[str, str] = {"FP32": "<f4", "FP64": "<f8"}
#: Name, datatype and NumPy's name of it, in the order of `Prediction`.
OUTPUTS: dict[str, tuple[str, str]] = {
    "label": ("INT32", "<i4"),
    "distances": ("FP64", "<f8"),
    "margin": ("FP64", "<f8"),
}


class Inference(NamedTuple):
    """A request for inference.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features), float64
        The rows, in units of the columns; NaN is missing.
    outputs : mapping of str to bool
        The outputs to return, in order, and whether as bytes.
    identifier : str or None
        What the answer repeats.
    """

    values: NDArray[np.float64]
    outputs: Mapping[str, bool]
    identifier: str | None


def inference_of(body: bytes, json_length: str | None, accepted: Accepted) -> Inference:
    """Return what a request asks for.

    Parameters
    ----------
    body : bytes
        JSON, and the bytes of the tensor after it if there is a `json_length`.
    json_length : str or None
        The header `JSON_LENGTH`.
    accepted : Accepted
        What rows may be.

    Returns
    -------
    Inference
        Rows in the order of the columns.

    Raises
    ------
    Refusal
        4xx with the first thing that is wrong.
    """
    text, tail = body, b""
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdigit() and int(json_length[:20]) <= len(body)):
            reason = f"{JSON_LENGTH} is '{json_length[:20]}': it must be a number of bytes of the body."
            raise Refusal(HTTPStatus.BAD_REQUEST, reason)
        text, tail = body[: int(json_length)], body[int(json_length) :]
    document = object_of(text)
    identifier = _typed(document, "id", str, None)
    inputs = _typed(document, "inputs", list, [])
    if len(inputs) != 1:
        msg = f"there are {len(inputs)} inputs: send one, named '{INPUT}'."
        raise unprocessable(msg)
    tensor = _object(inputs[0], "an input")
    if _typed(tensor, "name", str, None) != INPUT:
        msg = f"the name of the input is not '{INPUT}': the model has no other."
        raise unprocessable(msg)
    datatype = _typed(tensor, "datatype", str, None)
    if datatype not in DATATYPES:
        msg = f"the datatype of '{INPUT}' is none of {few(DATATYPES)}."
        raise unprocessable(msg)
    n_rows = _rows_of_shape(_typed(tensor, "shape", list, []), accepted)
    size = _typed(_typed(tensor, "parameters", dict, {}), "binary_data_size", int, None)
    if size is None and not tail:
        values = _from_json(tensor, (n_rows, len(accepted.names)), accepted)
        if datatype == "FP32":
            with np.errstate(over="ignore"):
                values = values.astype(np.float32).astype(np.float64)
    else:
        values = _from_bytes(tail, size, "data" in tensor, datatype, n_rows, accepted)
    outputs = _outputs(document)
    refuse_repeated_names(text)
    return Inference(values, outputs, identifier)


def inference_response(inference: Inference, prediction: Prediction, name: str, model_id: str) -> Response:
    """Return the answer to a request for inference.

    Parameters
    ----------
    inference : Inference
        What was asked for.
    prediction : Prediction
        Of its rows.
    name, model_id : str
        Of the model.

    Returns
    -------
    Response
        JSON, followed by the bytes of those outputs that were asked for so.
    """
    outputs: list[dict[str, Any]] = []
    tails: list[bytes] = []
    arrays = dict(zip(OUTPUTS, prediction, strict=True))
    for output, binary in inference.outputs.items():
        datatype, dtype = OUTPUTS[output]
        array = np.ascontiguousarray(arrays[output], dtype=dtype)
        described: dict[str, Any] = {"name": output, "shape": array.shape, "datatype": datatype}
        if binary:
            tails.append(array.tobytes())
            described["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            described["data"] = array.ravel()
        outputs.append(described)
    answer = {"model_name": name, "model_version": model_id, "outputs": outputs}
    if inference.identifier is not None:
        answer["id"] = inference.identifier
    if not tails:
        return json_response(answer)
    head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(b"".join((head, *tails)), headers={JSON_LENGTH: str(len(head))}, media_type=BINARY)


_Default = Any


def _typed(source: dict[str, Any], name: str, kind: type, default: _Default) -> Any:  # noqa: ANN401  # of the kind that is asked for
    """Return a field of JSON if it has the type, the default if it is not there; refuse others."""
    value = source.get(name, default)
    if value is not default and type(value) is not kind:
        msg = f"'{name}' is {kind_of(value)}: the protocol has another type for it."
        raise unprocessable(msg)
    return value


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"{what} is {kind_of(value)}: it must be an object."
        raise unprocessable(msg)
    return value


def _rows_of_shape(shape: list[Any], accepted: Accepted) -> int:
    n_features = len(accepted.names)
    # JSON has one kind of number: 3.0 is 3.
    counts = [size for size in shape if type(size) in (int, float) and size >= 0 and size == size // 1]
    if len(shape) != 2 or len(counts) != 2 or counts[1] != n_features:
        msg = f"the shape of '{INPUT}' is not [n, {n_features}]."
        raise unprocessable(msg)
    accepted.refuse_many(int(counts[0]))
    return int(counts[0])


def _from_json(tensor: dict[str, Any], shape: tuple[int, int], accepted: Accepted) -> NDArray[np.float64]:
    data = _typed(tensor, "data", list, [])
    if data and set(map(type, data)) == {list}:
        if len(data) != shape[0] or set(map(len, data)) != {shape[1]}:
            msg = f"the arrays of 'data' are not {shape[0]} of {shape[1]} values each, as the shape says."
            raise unprocessable(msg)
        data = list(chain.from_iterable(data))
    if len(data) != shape[0] * shape[1]:
        msg = f"'data' has {len(data)} values: the shape says {shape[0]} x {shape[1]}."
        raise unprocessable(msg)
    return accepted.numbers(data)


def _from_bytes(
    tail: bytes, size: int | None, data: bool, datatype: str, n_rows: int, accepted: Accepted
) -> NDArray[np.float64]:
    """Return rows from little-endian bytes; refuse NaN, which only null in JSON says on purpose."""
    n_features = len(accepted.names)
    expected = n_rows * n_features * np.dtype(DATATYPES[datatype]).itemsize
    if data or size != expected or len(tail) != expected:
        msg = (
            f"there are {len(tail)} bytes after the JSON, and 'binary_data_size' is {size}: "
            f"both must be {expected}, with no 'data' and with the header {JSON_LENGTH}."
        )
        raise unprocessable(msg)
    tensor = np.frombuffer(tail, dtype=DATATYPES[datatype]).reshape(n_rows, n_features)
    if np.isnan(tensor).any():
        row, column = np.argwhere(np.isnan(tensor))[0]
        msg = f"row {row} has NaN for '{accepted.names[column]}': send what is missing as null, in JSON."
        raise unprocessable(msg)
    accepted.refuse_large(tensor)
    return tensor.astype(np.float64)


def _outputs(document: dict[str, Any]) -> dict[str, bool]:
    """Return the outputs asked for, in order, and whether as bytes."""
    everywhere = _typed(_typed(document, "parameters", dict, {}), "binary_data_output", bool, False)
    wanted = _typed(document, "outputs", list, [])
    outputs: dict[str, bool] = {}
    for output in wanted or [{"name": name} for name in OUTPUTS]:
        described = _object(output, "an output")
        name = _typed(described, "name", str, None)
        if name not in OUTPUTS or name in outputs:
            msg = f"an output is not one of {few(OUTPUTS)}, or is asked for twice."
            raise unprocessable(msg)
        outputs[name] = _typed(_typed(described, "parameters", dict, {}), "binary_data", bool, everywhere)
    return outputs
