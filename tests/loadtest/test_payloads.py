"""What is sent: golden rows one by one, and whole 4K pictures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tier_planner.objectives import Objective, read_objectives

from loadtest.paths import SLO
from loadtest.payloads import PICTURE_COUNT, PayloadError, board_pictures, payloads_for


@pytest.fixture
def rows() -> Objective:
    return replace(read_objectives(SLO).of_tier("function"), model="practice")


def test_each_body_is_one_golden_row(rows: Objective, models: Path) -> None:
    payloads = payloads_for(rows, models)
    assert payloads.path == "/v1/models/practice/predict"
    assert [json.loads(body) for body in payloads.bodies] == [{"rows": [{"size": 1.0}]}, {"rows": [{"size": 2.0}]}]
    assert (payloads.headers["Content-Type"], payloads.answer_key) == ("application/json", "predictions")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": []}'])
def test_unusable_rows_are_named(rows: Objective, models: Path, text: str) -> None:
    (models / "practice" / "golden.json").write_text(text, encoding="utf-8")
    with pytest.raises(PayloadError, match=r"golden\.json holds no `rows`"):
        payloads_for(rows, models)


def test_a_missing_model_says_what_to_run(rows: Objective, tmp_path: Path) -> None:
    with pytest.raises(PayloadError, match="run `make setup` first"):
        payloads_for(rows, tmp_path)


@pytest.mark.slow
def test_pictures_are_made_once_and_sent_whole(tmp_path: Path) -> None:
    pictures = board_pictures(tmp_path)
    assert len(pictures) == PICTURE_COUNT
    for picture in pictures:
        with Image.open(picture) as image:
            assert (image.format, image.size) == ("JPEG", (3840, 2160))
    made_at = [picture.stat().st_mtime_ns for picture in pictures]
    container = read_objectives(SLO).of_tier("container")
    payloads = payloads_for(container, pictures=tmp_path)
    assert payloads.path == "/v1/models/board-defects-n/predict?scale=1.0"
    assert payloads.bodies == tuple(picture.read_bytes() for picture in pictures)
    assert len(set(payloads.bodies)) == PICTURE_COUNT
    assert [picture.stat().st_mtime_ns for picture in pictures] == made_at
