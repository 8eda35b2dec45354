"""The short form of `make chaos`."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import SHORT, STAGES
from tests.chaos.run import Chaos, as_text
from tests.shared.inference_jobs.azurite import missing


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_no_accepted_job_is_lost_or_doubled_whatever_dies(name: str, tmp_path: Path) -> None:
    if name == "azurite" and (reason := missing()):
        pytest.skip(reason)
    with STAGES[name](tmp_path) as stage:
        report = Chaos(name, tmp_path, stage, SHORT).run()
    assert report.is_good, as_text(report)
    assert report.kills
    assert (report.pauses, report.api_restarts) == (1, 2)
