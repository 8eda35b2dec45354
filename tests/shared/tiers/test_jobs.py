"""`tiers jobs` against a container tier in a process of its own."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.entry import Tier, started
from tests.models import squares_picture


@pytest.fixture
def tier(models_dir: Path, tmp_path: Path) -> Iterator[Tier]:
    settings = {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_JOBS_DIR": tmp_path / "jobs"}
    with started("image_api.main", tmp_path / "log", settings) as running:
        yield running


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    (folder / "one.png").write_bytes(squares_picture(64, 64, [(16, 32)]))
    (folder / "two.png").write_bytes(squares_picture(128, 64, [(0, 0), (96, 16)]))
    (folder / "more" / "one.png").write_bytes(squares_picture(64, 64, []))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def tiers_jobs(tier: Tier, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tiers", "jobs", *map(str, arguments), "--url", str(tier.client.base_url)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_folder_of_pictures_becomes_json_a_table_and_annotated_pictures(
    tier: Tier, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = tiers_jobs(tier, "submit", pictures, "--model", "squares", "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert "3 answered, 0 not" in ended.stdout
    assert "3/3 finished" in ended.stderr
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [(Path(row["picture"]).relative_to(pictures).as_posix(), row["label"], row["x1"]) for row in rows]
    assert sorted(found) == [("one.png", "square", "16.0"), ("two.png", "square", "0.0"), ("two.png", "square", "96.0")]
    assert json.loads((out / "json" / "two.json").read_text())["image"] == {"width": 128, "height": 64}
    assert sorted(path.name for path in (out / "annotated").iterdir()) == ["one-2.jpg", "one.jpg", "two.jpg"]
    with Image.open(out / "annotated" / "two.jpg") as annotated:
        assert annotated.size == (128, 64)


def test_the_same_pictures_again_are_the_same_jobs(tier: Tier, pictures: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert tiers_jobs(tier, "submit", pictures, "--model", "squares", "--out", tmp_path / "out").returncode == 0
    assert len(tier.client.get("/v1/jobs").json()["jobs"]) == 3


def test_a_picture_that_cannot_be_read_is_named_and_takes_no_other_with_it(
    tier: Tier, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "broken.jpg").write_bytes(b"no picture")
    ended = tiers_jobs(tier, "submit", pictures, "--model", "squares", "--out", tmp_path / "out")
    assert ended.returncode == 1
    assert "3 answered, 1 not" in ended.stdout
    assert "broken.jpg: The body is no picture" in ended.stderr
    assert "unsupported_media" in (tmp_path / "out" / "results.csv").read_text()


def test_jobs_can_be_listed_shown_and_cancelled(tier: Tier, pictures: Path) -> None:
    submitted = tiers_jobs(tier, "submit", pictures / "one.png", "--model", "squares", "--no-wait")
    name = submitted.stdout.split()[0]
    assert name in tiers_jobs(tier, "list").stdout
    assert f"id           {name}" in tiers_jobs(tier, "show", name).stdout
    assert tiers_jobs(tier, "cancel", name).returncode == 0


def test_a_picture_whose_job_came_to_nothing_is_submitted_anew(
    models_dir: Path, pictures: Path, tmp_path: Path
) -> None:
    settings: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": models_dir,
        "INFERENCE_JOBS_DIR": tmp_path / "idle",
        "INFERENCE_JOBS_WORKERS": "0",
    }
    with started("image_api.main", tmp_path / "log", settings) as idle:
        names = []
        for _ in range(3):
            ended = tiers_jobs(idle, "submit", pictures / "one.png", "--model", "squares", "--no-wait")
            names.append(ended.stdout.split()[0])
            tiers_jobs(idle, "cancel", names[-1])
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("model", "url", "sentence"),
    [("cats", "", 'error: No model or family "cats"'), ("squares", "http://127.0.0.1:9", "error: http://127.0.0.1:9 ")],
)
def test_a_service_that_refuses_or_is_not_there_is_one_sentence(
    tier: Tier, pictures: Path, model: str, url: str, sentence: str
) -> None:
    command = [sys.executable, "-m", "tiers", "jobs", "submit", str(pictures), "--model", model]
    command += ["--url", url or str(tier.client.base_url)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith(sentence)
    assert len(ended.stderr.splitlines()) == 1
