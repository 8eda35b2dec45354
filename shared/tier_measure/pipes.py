"""What `rounds.run_module` talks to: a process that answers one request on its pipes, both as JSON."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from inference_core.errors import InferenceError, StartupError

from tier_measure.errors import MeasureError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def answer(work: Callable[[dict[str, Any]], "DataclassInstance"]) -> int:
    """Print what `work` makes of the request. What it cannot is a sentence on standard error and exit status 2."""
    try:
        report = work(json.load(sys.stdin))
    except (InferenceError, StartupError, MeasureError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    json.dump(asdict(report), sys.stdout)
    return 0
