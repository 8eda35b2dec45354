"""What the OpenAPI description says of choosing among the variants of a family."""

from typing import Any

MIN_ACCURACY: dict[str, Any] = {
    "name": "min_accuracy",
    "in": "query",
    "description": "What answers must be as accurate as this at least, in the metric of its model (`GET /v1/models`); "
    "422 when nothing here is, or nothing within `deadline_ms`",
    "schema": {"type": "number"},
}
CHOICE: dict[str, Any] = {
    "type": "object",
    "description": "Only where a family had a deadline or a least accuracy to choose by",
    "required": ["variant", "scale", "expected_accuracy", "predicted_ms", "actual_ms"],
    "properties": {
        "variant": {"type": "string"},
        "scale": {"type": "number"},
        "expected_accuracy": {
            "type": ["number", "null"],
            "description": "As measured for this variant at this scale; null for a scale of the caller's that was not",
        },
        "predicted_ms": {
            "type": "number",
            "description": "From the arrival to the answer, as foretold when the request got its slot",
        },
        "actual_ms": {"type": "number", "description": "From the arrival to the answer"},
    },
}
