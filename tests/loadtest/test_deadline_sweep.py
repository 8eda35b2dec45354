"""A sweep's figures and plot, from what a real service answered."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from inference_core.settings import Settings
from inference_http.app import create_app
from inference_http.service import builders, open_service

from loadtest.deadline_plot import draw
from loadtest.deadline_steps import step
from loadtest.steady import Hit, Shot, offered
from tests.models import detection_model, squares_picture
from tests.shared.inference_http.conftest import served

PICTURE = squares_picture(64, 64, [(16, 16)])
TILE_S = {("squares-n", 1.0): 8.0, ("squares-n", 0.5): 0.2}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A family whose full scale is thought to take 8 s."""
    detection_model(tmp_path / "models", accuracies={1.0: 0.9, 0.5: 0.75})
    settings = Settings(models_dir=tmp_path / "models")
    service = replace(open_service(settings, "cpu", builders(settings, "cpu")), tile_s=TILE_S)
    with served(create_app(service)) as url:
        yield int(url.rpartition(":")[2])


def test_a_sweep_counts_choices_and_refusals_and_draws_them(port: int, tmp_path: Path) -> None:
    def hits(deadline_ms: int) -> list[Hit]:
        shot = Shot(f"/v1/models/squares/predict?deadline_ms={deadline_ms}", PICTURE)
        return offered(port, [shot], [0.0, 0.01, 0.02], keep_replies=True)

    refused, early, late = (step(ms / 1e3, hits(ms)) for ms in (20, 4000, 60_000))
    assert (refused.sent, refused.refused, refused.failed, refused.accuracy_mean) == (3, 3, 0, None)
    assert refused.in_time_share == 0
    assert [(c.variant, c.scale, c.accuracy, c.count) for c in early.chosen] == [("n", 0.5, 0.75, 3)]
    assert [(c.variant, c.scale, c.accuracy, c.count) for c in late.chosen] == [("n", 1.0, 0.9, 3)]
    assert late.accuracy_mean == pytest.approx(0.9)
    assert (late.in_time, len(late.latencies_ms)) == (3, 3)
    assert "3 of 3 answers in time" in late.line()
    draw([refused, early, late], tmp_path / "plot", "squares")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    text = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert all(label in text for label in ("n at 0.5", "n at 1", "3 refused", "squares"))
