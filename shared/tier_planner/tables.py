"""Strict reading of TOML and JSON tables: an error names the source, the key and the bad value."""

import math
from collections.abc import Mapping, Sequence
from typing import Final


class TableError(ValueError):
    """A table lacks a key, has one too many, or holds a value that cannot be meant."""


class _Required:
    """Marks a key without a default."""


REQUIRED: Final = _Required()
NUMBER_MAX: Final = 1e15
SHOWN_MAX: Final = 200
"""Characters of a bad value that an error shows."""


class Table:
    """A mapping whose every value is taken once, with its type and range checked.

    `source` is the file, `path` the keys that led here; errors show both. Call `finish` last: a key that nobody took
    is a misspelt one.
    """

    def __init__(self, source: str, values: object, path: str = "") -> None:
        if not isinstance(values, Mapping):
            raise TableError(f"{source}: {path or 'the whole'} = {values!r}: must be a table of keys and values")
        self._source = source
        self._path = path
        self._values: dict[str, object] = {str(key): value for key, value in values.items()}
        self._taken: set[str] = set()

    def names(self) -> tuple[str, ...]:
        """The keys, in the order of the file."""
        return tuple(self._values)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        self._taken.add(key)
        return self._values.get(key) is not None

    def value(self, key: str) -> object:
        """Whatever stands there, for types that the other readers do not know, such as TOML's dates."""
        return self._take(key, REQUIRED)

    def boolean(self, key: str, *, default: bool | _Required = REQUIRED) -> bool:
        """True or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.error(key, value, "must be true or false")
        return value

    def text(self, key: str, default: str | _Required = REQUIRED, choices: Sequence[str] = ()) -> str:
        """A string, one of `choices` where they are given."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self.error(key, value, "must be text")
        if choices and value not in choices:
            raise self.error(key, value, f"must be one of {', '.join(choices)}")
        return value

    def number(
        self, key: str, *, above: float = -NUMBER_MAX, low: float = -NUMBER_MAX, high: float = NUMBER_MAX
    ) -> float:
        """A finite number: greater than `above`, at least `low`, at most `high`."""
        value = self._take(key, REQUIRED)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise self.error(key, value, "must be a number")
        if value <= above:
            raise self.error(key, value, f"must be greater than {above:g}")
        if value < low:
            raise self.error(key, value, f"must be at least {low:g}")
        if value > high:
            raise self.error(key, value, f"must be at most {high:g}")
        return float(value)

    def integer(self, key: str, *, low: int = 0) -> int:
        """A whole number, at least `low`."""
        value = self._take(key, REQUIRED)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, value, "must be a whole number")
        if value < low:
            raise self.error(key, value, f"must be at least {low}")
        return value

    def table(self, key: str) -> "Table":
        """A nested table."""
        return Table(self._source, self._take(key, REQUIRED), self._path_of(key))

    def tables(self, key: str) -> tuple["Table", ...]:
        """A list of nested tables."""
        path = self._path_of(key)
        return tuple(Table(self._source, value, f"{path}[{row}]") for row, value in enumerate(self._sequence(key)))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._sequence(key)
        if bad := [value for value in values if not isinstance(value, str)]:
            raise self.error(key, bad[0], "every entry must be text")
        return tuple(str(value) for value in values)

    def numbers(self, key: str) -> tuple[float | None, ...]:
        """A list of numbers, null allowed (a value that never came)."""
        numbers: list[float | None] = []
        for value in self._sequence(key):
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                raise self.error(key, value, "every entry must be a number or null")
            numbers.append(None if value is None else float(value))
        return tuple(numbers)

    def numbers_by_name(self) -> dict[str, tuple[float | None, ...]]:
        """Every key here with its list of numbers."""
        return {name: self.numbers(name) for name in self.names()}

    def finish(self) -> None:
        """Refuse keys that were never taken."""
        if unknown := sorted(set(self._values) - self._taken):
            raise self.error(unknown[0], self._values[unknown[0]], "is not a key that is read here")

    def _take(self, key: str, default: object) -> object:
        self._taken.add(key)
        value = self._values.get(key, default)
        if value is REQUIRED:
            raise TableError(f"{self._source}: {self._path_of(key)} is missing")
        return value

    def _sequence(self, key: str) -> Sequence[object]:
        value = self._take(key, REQUIRED)
        if not isinstance(value, list):
            raise self.error(key, value, "must be a list")
        return value

    def _path_of(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def error(self, key: str, value: object, rule: str) -> TableError:
        """The error that names the source, the key and the bad value, and says the rule it breaks."""
        shown = repr(value)[:SHOWN_MAX]
        return TableError(f"{self._source}: {self._path_of(key)} = {shown}: {rule}")
