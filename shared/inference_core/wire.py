"""The Open Inference Protocol v2 on the wire: what its documents say of a model, its infer request, its reply."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference_core import refusals, tensors
from inference_core.documents import ReadJson, TooDeep, reader
from inference_core.errors import InvalidTensor, TooLarge
from inference_core.session import Session, TensorSpec
from inference_core.settings import Settings
from inference_core.tensors import Array

VERSION = "1"
"""The one version that each model has here."""
LENGTH_HEADER = "Inference-Header-Content-Length"
"""Names how many bytes of a body are JSON; raw tensors follow. 0 in a request: the whole body is one tensor."""
_DIGITS_MAX = 15
_SHOWN_CHARS_MAX = 80


@dataclass(frozen=True)
class InferRequest:
    """One infer call: `feeds` by input name; `outputs` are (name, binary) in the order of the reply."""

    id: str | None
    feeds: Mapping[str, Array]
    outputs: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class InferReply:
    """A body to send. `json_length` is None where all of it is JSON."""

    body: bytes
    json_length: int | None


def metadata(name: str, session: Session) -> dict[str, Any]:
    """What `GET /v2/models/{name}` answers."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [_described(spec) for spec in session.inputs],
        "outputs": [_described(spec) for spec in session.outputs],
    }


def config(name: str, session: Session) -> dict[str, Any]:
    """What `GET /v2/models/{name}/config` answers. Batching is the client's: shapes stand whole, `max_batch_size` 0."""
    return {
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [_configured(spec) for spec in session.inputs],
        "output": [_configured(spec) for spec in session.outputs],
    }


def _described(spec: TensorSpec) -> dict[str, Any]:
    # A type without a name in the protocol stands as ONNX Runtime's own: a client can at least show it.
    return {"name": spec.name, "datatype": tensors.datatype(spec.dtype) or spec.dtype, "shape": _dimensions(spec)}


def _configured(spec: TensorSpec) -> dict[str, Any]:
    kind = tensors.datatype(spec.dtype)
    name = "TYPE_STRING" if kind == "BYTES" else f"TYPE_{kind}" if kind else "TYPE_INVALID"
    return {"name": spec.name, "data_type": name, "dims": _dimensions(spec)}


def _dimensions(spec: TensorSpec) -> list[int]:
    if spec.dtype.startswith(("seq(", "map(")):
        return [-1]
    return [side if isinstance(side, int) else -1 for side in spec.shape]


def read_length(text: str | None) -> int | None:
    """The value of the length header, None where there is none. Raises InvalidTensor for anything but digits."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise InvalidTensor(f"{LENGTH_HEADER} is {_shown(text)}, not a number of bytes.")
    return int(text)


def read_request(
    body: bytes, json_length: int | None, session: Session, *, elements_max: int, read: ReadJson | None = None
) -> InferRequest:
    """The call in `body`; `json_length` is the length header's value, `read` parses the JSON (within the default
    limits, where it is not given). Raises InvalidTensor or TooLarge saying what is wrong with which input.
    """
    if json_length == 0:
        return _raw_request(memoryview(body), session, elements_max)
    if json_length is not None and not 0 < json_length <= len(body):
        raise InvalidTensor(f"{LENGTH_HEADER} is {json_length}, the body has {len(body)} bytes.")
    document = _document(body[:json_length], read or reader(Settings()))
    specs = {spec.name: spec for spec in session.inputs}
    rest = memoryview(body)[len(body) if json_length is None else json_length :]
    feeds: dict[str, Array] = {}
    for entry in _entries(document, "inputs"):
        spec = _known(entry, specs, feeds, "input")
        feeds[spec.name], rest = _tensor(entry, spec, rest, elements_max)
    if len(rest):
        raise InvalidTensor(f"{len(rest)} bytes follow the last binary tensor.")
    if missing := [name for name in specs if name not in feeds]:
        raise InvalidTensor(f'Input "{missing[0]}" is missing.')
    return InferRequest(_id(document), feeds, _requested(document, session))


def _document(body: bytes, read: ReadJson) -> dict[str, Any]:
    try:
        document = read(body)
    except TooDeep as error:
        raise InvalidTensor(str(error)) from None
    except (ValueError, RecursionError):
        raise InvalidTensor("The request is not JSON.") from None
    if not isinstance(document, dict):
        raise InvalidTensor('The request is no JSON object with "inputs".')
    return document


def _id(document: dict[str, Any]) -> str | None:
    given = document.get("id")
    if given is not None and not (isinstance(given, str) and tensors.is_text(given)):
        raise InvalidTensor('"id" is not a text.')
    return given or None


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidTensor(f'"{key}" is not a list of objects.')
    return entries


def _known(entry: dict[str, Any], specs: Mapping[str, TensorSpec], seen: Mapping[str, Any], what: str) -> TensorSpec:
    name = entry.get("name")
    if not isinstance(name, str) or name not in specs:
        raise InvalidTensor(f"The model has no {what} {_shown(name)}; it has {', '.join(specs)}.")
    if name in seen:
        raise InvalidTensor(f'{what.capitalize()} "{name}" is given twice.')
    return specs[name]


def _tensor(entry: dict[str, Any], spec: TensorSpec, rest: memoryview, elements_max: int) -> tuple[Array, memoryview]:
    """The tensor of one input entry, and what remains of the binary part."""
    kind = _kind(entry, spec)
    shape = _shape(entry.get("shape"), spec, elements_max)
    size = _parameters(entry).get("binary_data_size")
    if size is None:
        return tensors.from_json(entry.get("data"), kind, shape, spec.name), rest
    if type(size) is not int or not 0 <= size <= len(rest):
        raise InvalidTensor(f'Input "{spec.name}": binary_data_size is {_shown(size)}, {len(rest)} bytes are left.')
    if "data" in entry:
        raise InvalidTensor(f'Input "{spec.name}" has both "data" and binary_data_size.')
    return tensors.from_bytes(rest[:size], kind, shape, spec.name), rest[size:]


def _kind(entry: dict[str, Any], spec: TensorSpec) -> str:
    kind = tensors.datatype(spec.dtype)
    if kind is None or not spec.dtype.startswith("tensor("):
        raise InvalidTensor(f'Input "{spec.name}" is a {spec.dtype}, which is not carried here.')
    if entry.get("datatype") != kind:
        raise InvalidTensor(f'Input "{spec.name}" is {kind}, not {_shown(entry.get("datatype"))}.')
    return kind


def _shape(shape: Any, spec: TensorSpec, elements_max: int) -> list[int]:
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise InvalidTensor(f'Input "{spec.name}": "shape" is not a list of whole numbers from 0 on.')
    if tensors.element_count(shape) > elements_max:
        raise TooLarge(f'Input "{spec.name}": shape {shape} has more elements than the limit of {elements_max}.')
    wanted = _dimensions(spec)
    if not wanted:
        return shape  # a scalar or of any rank: ONNX Runtime says [] of both, and refuses what does not fit
    if len(shape) != len(wanted) or any(w not in (-1, s) for s, w in zip(shape, wanted, strict=True)):
        raise InvalidTensor(f'Input "{spec.name}": shape {shape} does not fit the model\'s {wanted}.')
    return shape


def _shown(value: Any) -> str:
    """`value` as a caller wrote it, cut where it is long: an error must not send a whole body back."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request or tensor; those that we do not know are ignored, as the protocol allows."""
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidTensor('"parameters" is not an object.')
    return parameters


def _requested(document: dict[str, Any], session: Session) -> list[tuple[str, bool]]:
    all_binary = _flag(_parameters(document), "binary_data_output", default=False)
    specs = {spec.name: spec for spec in session.outputs}
    if not document.get("outputs"):
        return [(_carried(spec), all_binary) for spec in session.outputs]
    requested: dict[str, bool] = {}
    for entry in _entries(document, "outputs"):
        spec = _known(entry, specs, requested, "output")
        requested[_carried(spec)] = _flag(_parameters(entry), "binary_data", default=all_binary)
    return list(requested.items())


def _carried(spec: TensorSpec) -> str:
    """The name of an output. Raises InvalidTensor, before the model runs, when its type has no form on the wire."""
    if tensors.datatype(spec.dtype) is None:
        raise InvalidTensor(f'Output "{spec.name}" is a {spec.dtype}, which is not carried here; ask for others.')
    return spec.name


def _flag(parameters: dict[str, Any], key: str, *, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise InvalidTensor(f'"{key}" is neither true nor false.')
    return value


def _raw_request(body: memoryview, session: Session, elements_max: int) -> InferRequest:
    """The body is the model's one input, its one open dimension given by the length; all outputs come binary."""
    if len(session.inputs) != 1:
        raise InvalidTensor(f"A raw body needs a model of one input; this one has {len(session.inputs)}.")
    spec = session.inputs[0]
    kind = _kind({"datatype": tensors.datatype(spec.dtype)}, spec)
    shape = _dimensions(spec)
    if kind == "BYTES":
        shape = [1 if side == -1 else side for side in shape]
        if tensors.element_count(shape) != 1:
            raise InvalidTensor(f'Input "{spec.name}" has more than one element; a raw body can carry but one text.')
        feed = tensors.from_bytes(memoryview(len(body).to_bytes(4, "little") + bytes(body)), kind, shape, spec.name)
    else:
        shape = _closed(shape, len(body) // tensors.DTYPES[kind].itemsize, spec)
        feed = tensors.from_bytes(body, kind, _shape(shape, spec, elements_max), spec.name)
    return InferRequest(None, {spec.name: feed}, [(_carried(output), True) for output in session.outputs])


def _closed(shape: list[int], elements: int, spec: TensorSpec) -> list[int]:
    if shape.count(-1) > 1:
        raise InvalidTensor(f'Input "{spec.name}" has several open dimensions {shape}; a raw body cannot say them.')
    known = tensors.element_count([side for side in shape if side != -1])
    return [elements // known if side == -1 and known else side for side in shape]


def infer(request: InferRequest, session: Session) -> list[Any]:
    """Run the model. Raises InvalidTensor with ONNX Runtime's reason when it refuses the values, OutOfMemory when
    they are too many for this machine; any other failure is ours and comes as it is.
    """
    try:
        return session.run(request.feeds, [name for name, _ in request.outputs])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes here
        refusal = refusals.explained(error)
        if refusal is None:
            raise
        raise refusal from error


def write_reply(model: str, request: InferRequest, values: Sequence[Any], session: Session) -> InferReply:
    """The reply to `request` with `values`, one an output asked for."""
    kinds = {spec.name: spec.dtype for spec in session.outputs}
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for (name, binary), value in zip(request.outputs, values, strict=True):
        array = _as_array(value, kinds[name])
        kind = tensors.datatype(kinds[name])
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": kind}
        if binary:
            raw.append(tensors.to_bytes(array))
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            entry["data"] = tensors.to_json(array)
        outputs.append(entry)
    document = {"model_name": model, "model_version": VERSION, "outputs": outputs}
    if request.id is not None:
        document["id"] = request.id
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    if not raw:
        return InferReply(text, None)
    return InferReply(b"".join([text, *raw]), len(text))


def _as_array(value: Any, onnx_type: str) -> Array:
    if onnx_type.startswith(("seq(", "map(")):
        return tensors.documents(value)
    return np.asarray(value)
