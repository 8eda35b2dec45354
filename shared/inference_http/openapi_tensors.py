"""What the OpenAPI description says of the Open Inference Protocol beyond what FastAPI sees: `infer`, and errors."""

from typing import Any

_MODEL = "/v2/models/{name}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_DATATYPES = (
    ["BOOL", "BYTES"]
    + [f"{sign}INT{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)]
    + [f"FP{bits}" for bits in (16, 32, 64)]
)
_PARAMETERS = {"type": "object", "description": "Those not named in the protocol are ignored"}
_DATA = {"type": "array", "items": {}, "description": "Flat or nested row by row; left out where bytes are"}
_BINARY_SIZE = {"type": "integer", "minimum": 0, "description": "Bytes of this tensor behind the JSON"}


def _tensor(shape_description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string", "enum": _DATATYPES},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "description": shape_description,
            },
            "parameters": _PARAMETERS | {"properties": {"binary_data_size": _BINARY_SIZE}},
            "data": _DATA,
        },
    }


SCHEMAS: dict[str, Any] = {
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "description": "Comes back in the reply"},
            "inputs": {"type": "array", "items": _tensor("As the model's metadata says, -1 there meaning any")},
            "outputs": {
                "type": "array",
                "description": "Those wanted; all by default",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "parameters": _PARAMETERS | {"properties": {"binary_data": {"type": "boolean"}}},
                    },
                },
            },
            "parameters": _PARAMETERS | {"properties": {"binary_data_output": {"type": "boolean"}}},
        },
        "example": {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3], "data": [1.5, 2, 0]}]},
    },
    "InferReply": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": _tensor("Of this reply")},
        },
    },
    "TensorError": {
        "type": "object",
        "required": ["error", "request_id"],
        "properties": {
            "error": {"type": "string", "description": "One sentence that says what to do"},
            "request_id": {"type": "string"},
        },
    },
}


def complete(paths: dict[str, Any]) -> None:
    """Add the infer routes to `paths`, and to the other routes of one model what they answer when there is none."""
    for path in (_MODEL, _VERSION):
        for rest in ("", "/ready", "/config", "/stats"):
            paths[f"{path}{rest}"]["get"]["responses"]["404"] = _error("No model of that name and version")
        paths[f"{path}/infer"] = {"post": _infer(path)}


def _infer(path: str) -> dict[str, Any]:
    text = {"type": "string"}
    parameters = [{"name": "name", "in": "path", "required": True, "description": "A model", "schema": text}]
    if path == _VERSION:
        parameters.append({"name": "version", "in": "path", "required": True, "description": "1", "schema": text})
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of the JSON (before compression) where tensors follow it as bytes; 0: all is one tensor",
        "schema": {"type": "integer", "minimum": 0},
    }
    binary = {"schema": {"type": "string", "format": "binary", "description": "JSON, then the tensors' bytes"}}
    return {
        "tags": ["open inference"],
        "summary": "Call a model by its tensors" + (", by version" if path == _VERSION else ""),
        "operationId": "infer_version" if path == _VERSION else "infer",
        "parameters": [*parameters, length],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
                "application/octet-stream": binary,
            },
        },
        "responses": _replies(binary),
    }


def _replies(binary: dict[str, Any]) -> dict[str, Any]:
    retry = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    length = {"description": "Bytes of the JSON, where tensors follow it", "schema": {"type": "integer"}}
    return {
        "200": {
            "description": "The outputs",
            "headers": {
                "Server-Timing": {"description": "The steps in ms", "schema": {"type": "string"}},
                "Inference-Header-Content-Length": length,
            },
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/InferReply"}},
                "application/octet-stream": binary,
            },
        },
        "400": _error("The tensors contradict themselves or the model, or the model refuses the values"),
        "404": _error("No model of that name and version"),
        "413": _error("The body, also once inflated, or a tensor exceeds a limit"),
        "415": _error("The body is compressed in a way that is not read here"),
        "422": _error("The compressed body is damaged"),
        "503": _error("Every slot is taken and the queue is full, or memory is short") | {"headers": retry},
    }


def _error(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/TensorError"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
