"""JSON replies."""

from typing import Any

import orjson
from fastapi.responses import Response


class Json(Response):
    """JSON by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """`content` as bytes."""
        return orjson.dumps(content)
