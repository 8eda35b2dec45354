"""The whole table: importing this enters every feature."""

from tests.conformance import calls, values
from tests.conformance.callers import CLIENTS, FEATURES, OK, run

__all__ = ["CLIENTS", "FEATURES", "OK", "calls", "run", "values"]
