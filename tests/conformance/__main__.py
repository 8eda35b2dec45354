"""`make conformance`: every client against every tier, feature by feature, and ONNX's node tests, all of them.

Exits with 1 when anything that is served does not work.
"""

import asyncio
import os
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

from tests.conformance import backend, perf_analyzer
from tests.conformance.locales import with_english
from tests.conformance.models import write_models
from tests.conformance.vocabulary import CLIENTS, FEATURES, OK, run
from tests.tiers import TIERS, running

Cells = dict[tuple[str, str, str], str]
"""By feature, tier and client: what the table shows, or `FAILED` and what went wrong."""
_FAILED = "FAILED"
_PERF_ANALYZER = "perf"
_COLUMNS = [(tier, client) for tier in TIERS for client in (*CLIENTS, _PERF_ANALYZER)]


def main() -> int:
    """Run everything and print it."""
    warnings.simplefilter("ignore")  # the aio client leaves connections open
    with tempfile.TemporaryDirectory() as folder:
        cells = _clients(Path(folder))
        print(_table(cells))
        os.environ.update(backend.ENVIRON | with_english(Path(folder)))
        outcomes = list(backend.judged())
        print(f"\n{len(outcomes)} node tests of ONNX's backend suite, through the container's HTTP")
        print(backend.report(outcomes))
    faults = [f"{' / '.join(cell)}: {word}" for cell, word in cells.items() if word.startswith(_FAILED)]
    print("\n".join(faults))
    return bool(faults) or any(outcome.verdict == "failed" for outcome in outcomes)


def _clients(folder: Path) -> Cells:
    models = str(write_models(folder / "models"))
    cells: Cells = {}
    with ExitStack() as stack:
        urls = {}
        for tier in TIERS:
            client = stack.enter_context(running(tier, folder / f"{tier}.log", INFERENCE_MODELS_DIR=models))
            urls[tier] = str(client.base_url)
        for name in FEATURES:
            for tier, url in urls.items():
                for client_kind in CLIENTS:
                    cells[name, tier, client_kind] = _tried(tier, url, client_kind, name)
        for tier, url in urls.items():
            cells["load, and its own split of the time", tier, _PERF_ANALYZER] = _measured(url)
    return cells


def _tried(tier: str, url: str, client: str, feature: str) -> str:
    try:
        return asyncio.run(run(tier, url, client, feature))
    except Exception as error:
        return f"{_FAILED} {type(error).__name__}: {error}"


def _measured(url: str) -> str:
    binary = perf_analyzer.find()
    if binary is None:
        return "absent"
    try:
        loads = perf_analyzer.measure(binary, url, "sizes-linear", "input:1,3")
    except AssertionError as error:
        return f"{_FAILED} {error}"
    return OK if all(load.compute_infer_us for load in loads) else f"{_FAILED} statistics stand still: {loads}"


def _table(cells: Cells) -> str:
    names = list(dict.fromkeys(name for name, _, _ in cells))
    heads = [f"{tier} {client}" for tier, client in _COLUMNS]
    width = max(map(len, names))
    lines = [f"{'':{width}}  {'  '.join(heads)}"]
    for name in names:
        words = [cells.get((name, *column), "").split(" ", 1)[0] for column in _COLUMNS]
        marks = [f"{word:^{len(head)}}" for word, head in zip(words, heads, strict=True)]
        lines.append(f"{name:{width}}  {'  '.join(marks)}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
