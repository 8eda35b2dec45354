"""Numbers in a query string, and what they ask for."""

import math
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request to a family asks for; None where it does not say."""

    arrived: float
    """On the clock of `perf_counter`."""
    deadline_s: float | None
    """From its arrival."""
    min_accuracy: float | None
    scale: float | None

    @property
    def due(self) -> float | None:
        """When its answer is wanted, on the clock of `perf_counter`."""
        return None if self.deadline_s is None else self.arrived + self.deadline_s


def wish(query: bytes, arrived: float, default_ms: int) -> Wish:
    """What `query` asks for. Raises InvalidRequest naming what cannot be meant."""
    return Wish(arrived, deadline_s(query, default_ms), min_accuracy(query), number(query, "scale"))


def min_accuracy(query: bytes) -> float | None:
    """The accuracy that a request asks for at least. Raises InvalidRequest for one that is no finite number."""
    given = number(query, "min_accuracy")
    if given is not None and not math.isfinite(given):
        raise InvalidRequest(f"min_accuracy = {given:g} is not finite.")
    return given
