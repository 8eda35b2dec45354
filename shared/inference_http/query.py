"""Numbers in a query string."""

from urllib.parse import parse_qsl

from inference_core.errors import InvalidRequest


def number(query: bytes, key: str) -> float | None:
    """The last value of `key` in `query`, None where it has none. Raises InvalidRequest naming what is no number."""
    if not query:
        return None
    given = [value for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name == key]
    try:
        return float(given[-1]) if given else None
    except ValueError:
        raise InvalidRequest(f"{key} = {given[-1]!r} is not a number.") from None


def deadline_s(query: bytes, default_ms: int) -> float | None:
    """Seconds from its arrival in which a request wants its answer: `deadline_ms` of the query, else the default, where
    0 is none. Raises InvalidRequest for one that is not above 0 and finite.
    """
    given_ms = number(query, "deadline_ms")
    if given_ms is None:
        return default_ms / 1e3 or None
    if not 0 < given_ms < float("inf"):
        raise InvalidRequest(f"deadline_ms = {given_ms:g} is not above 0 and finite.")
    return given_ms / 1e3
