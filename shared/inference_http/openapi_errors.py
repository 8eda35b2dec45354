"""What the OpenAPI description says of every route alike: keys, refusals, and that a document is an object."""

from typing import Any

_SEES = "#/components/schemas/"
_OPEN = "/v2/health/"
_DEADLINE = {
    "name": "deadline_ms",
    "in": "query",
    "description": "Milliseconds in which the answer is wanted: it is refused at once (503) when it would come later",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
ERROR = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}


def complete(document: dict[str, Any]) -> None:
    """Add it to `document`, which has all its routes."""
    components = document["components"]
    components["schemas"].setdefault("Error", ERROR)
    components["securitySchemes"] = _SCHEMES
    document["security"] = [{}, *({name: []} for name in _SCHEMES)]  # none, where no keys are set
    for path, route in document["paths"].items():
        for operation in route.values():
            _complete_one(path, operation)


def _complete_one(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    kind, name = ("application/json", "Error") if path.startswith("/v2") else ("application/problem+json", "Problem")
    refusal = {"description": "Any refusal", "content": {kind: {"schema": {"$ref": _SEES + name}}}}
    responses.setdefault("default", refusal)
    json = responses.get("200", {}).get("content", {}).get("application/json", {})
    if json.get("schema") in ({}, {"type": "string"}):
        json["schema"] = {"type": "object"}
    if path.endswith(("/predict", "/infer")):
        operation["parameters"] = [*operation.get("parameters", []), _DEADLINE]
    if path.startswith(_OPEN):
        operation["security"] = []
