"""The part of the OpenAPI description that FastAPI cannot derive: `predict` is answered outside its router, and so is
`infer` (openapi_tensors.py).
"""

from typing import Any

from inference_http import openapi_errors, openapi_tensors
from inference_http.openapi_choice import CHOICE, MIN_ACCURACY

DESCRIPTION = (
    "ONNX models over HTTP. `predict` takes what a caller has (rows of named columns, an encoded picture) and answers "
    "what a caller wants (labels, boxes in pixels). Errors are `application/problem+json` with a stable `code`."
)

_PREDICT = "/v1/models/{name}/predict"
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}

SCHEMAS: dict[str, Any] = {
    "Rows": {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "minItems": 1, "items": _NUMBERS}},
        "example": {"rows": [{"column": 1.5}]},
    },
    "TabularReply": {
        "type": "object",
        "required": ["model", "predictions", "timings_ms", "hosting"],
        "properties": {
            "model": {"type": "string"},
            "predictions": {
                "type": "array",
                "items": {
                    "oneOf": [
                        {
                            "type": "object",
                            "required": ["label", "probabilities"],
                            "properties": {"label": {"type": "string"}, "probabilities": _NUMBERS},
                        },
                        {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}}},
                    ]
                },
            },
            "timings_ms": {"$ref": "#/components/schemas/Timings"},
            "hosting": {"$ref": "#/components/schemas/Hosting"},
        },
    },
    "DetectionReply": {
        "type": "object",
        "required": ["model", "variant", "scale", "image", "detections", "timings_ms", "hosting"],
        "properties": {
            "model": {"type": "string"},
            "variant": {"type": "string"},
            "scale": {"type": "number"},
            "image": {
                "type": "object",
                "description": "The picture as a person sees it (EXIF applied), in pixels",
                "required": ["width", "height"],
                "properties": {"width": {"type": "integer"}, "height": {"type": "integer"}},
            },
            "detections": {"type": "array", "items": {"$ref": "#/components/schemas/Detection"}},
            "choice": {"$ref": "#/components/schemas/Choice"},
            "timings_ms": {"$ref": "#/components/schemas/Timings"},
            "hosting": {"$ref": "#/components/schemas/Hosting"},
        },
    },
    "Choice": CHOICE,
    "Detection": {
        "type": "object",
        "required": ["label", "score", "box"],
        "properties": {
            "label": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "box": {
                "type": "array",
                "description": "x1, y1, x2, y2 in pixels of the picture",
                "items": {"type": "number"},
                "minItems": 4,
                "maxItems": 4,
            },
        },
    },
    "Timings": _NUMBERS | {"description": "Milliseconds in each step, in order; `queue` is the wait for a slot"},
    "Hosting": {"type": "string", "enum": ["cpu", "cuda", "cpu-stand-in"], "description": "What computed"},
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "One sentence that says what to do"},
            "code": {"type": "string", "description": "Stable; programs may branch on it"},
            "request_id": {"type": "string"},
        },
    },
}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the routes of predict and infer, their schemas, and our errors in place of FastAPI's."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= SCHEMAS | openapi_tensors.SCHEMAS
    for route in document["paths"].values():
        for operation in route.values():
            operation["responses"].pop("422", None)
    one_model = document["paths"]["/v1/models/{name}"]["get"]["responses"]
    one_model["404"] = _problem("No model or family of that name")
    document["paths"][_PREDICT] = {"post": _predict()}
    openapi_tensors.complete(document["paths"])
    openapi_errors.complete(document)
    return document


def _predict() -> dict[str, Any]:
    return {
        "tags": ["models"],
        "summary": "Predict rows or a picture",
        "operationId": "predict",
        "parameters": [
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "A model, or a family: then its most accurate model here; of a family of picture models "
                "with `deadline_ms` or `min_accuracy`, the most accurate model and scale that answers in time",
                "schema": {"type": "string"},
            },
            {
                "name": "scale",
                "in": "query",
                "description": "Pictures only: sides used, relative to the picture's. Half the side, a quarter of the "
                "compute, less accuracy",
                "schema": {"type": "number", "minimum": 0.05, "maximum": 1, "default": 1},
            },
            MIN_ACCURACY,
        ],
        "requestBody": {"required": True, "content": _bodies()},
        "responses": _replies(),
    }


def _bodies() -> dict[str, Any]:
    picture = {"schema": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary", "description": "The one file of the form"}},
    }
    return {
        "application/json": {"schema": {"$ref": "#/components/schemas/Rows"}},
        **dict.fromkeys(("image/jpeg", "image/png", "image/webp", "application/octet-stream"), picture),
        "multipart/form-data": {"schema": form},
    }


def _replies() -> dict[str, Any]:
    shapes = [{"$ref": f"#/components/schemas/{name}"} for name in ("TabularReply", "DetectionReply")]
    retry = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return {
        "200": {
            "description": "The predictions",
            "headers": {"Server-Timing": {"description": "The steps in ms", "schema": {"type": "string"}}},
            "content": {"application/json": {"schema": {"oneOf": shapes}}},
        },
        "404": _problem("No model or family of that name"),
        "413": _problem("The body, the picture or the rows exceed a limit"),
        "415": _problem("The body is no picture of a kind read here, or it is compressed"),
        "422": _problem("The content cannot be used, or nothing is accurate enough in time; the detail says more"),
        "503": _problem("Every slot is taken and the queue is full, or the deadline would pass") | {"headers": retry},
    }


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
