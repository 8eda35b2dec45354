"""A container tier that is thrown everything at, and a count of what it answered.

`make fuzz` runs these with the profile `fuzz`: new cases each time, thousands of each kind. `make test` runs a few
hundred, the same each time.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.entry import Tier, started
from tests.models import detection_model, tabular_model

settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=False,
    max_examples=3500,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
ANSWERED_S = 20
"""A reply that takes longer is a hang."""
STATUSES: Counter[tuple[str, int]] = Counter()


@pytest.fixture(scope="session")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    folder = tmp_path_factory.mktemp("fuzz")
    tabular_model(folder / "models")
    detection_model(folder / "models")
    given: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": folder / "models",
        "INFERENCE_THREADS": "1",
        "INFERENCE_BODY_S_MAX": "2",
        "INFERENCE_PIXELS_MAX": "1000000",
    }
    with started("image_api.main", folder / "log", given) as running:
        running.client.timeout = httpx.Timeout(ANSWERED_S)
        yield running
        log = running.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]


@pytest.fixture(scope="session")
def client(tier: Tier) -> httpx.Client:
    return tier.client


def judged(kind: str, reply: httpx.Response) -> httpx.Response:
    """Count `reply`, and hold it to what every reply must be: an answer, or a refusal in shape; never our own fault."""
    STATUSES[kind, reply.status_code] += 1
    assert reply.status_code < 500 or reply.status_code == 503, reply.text
    if reply.status_code >= 400:
        document = reply.json()
        if reply.url.path.startswith("/v2"):
            assert isinstance(document["error"], str)
        else:
            assert reply.headers["content-type"] == "application/problem+json"
            assert document["status"] == reply.status_code
        assert len(reply.content) < 2000, "a refusal sends a body back"
    return reply


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases of each kind, by status."""
    if not STATUSES:
        return
    terminalreporter.section("fuzzed requests")
    for kind in sorted({kind for kind, _ in STATUSES}):
        counts = {status: count for (each, status), count in sorted(STATUSES.items()) if each == kind}
        terminalreporter.write_line(f"{kind:20} {sum(counts.values()):6}  {counts}")
    terminalreporter.write_line(f"{'all':20} {sum(STATUSES.values()):6}")
