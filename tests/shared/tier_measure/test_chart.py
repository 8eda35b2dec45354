"""The chart shows each machine and power as a curve with its front, and the same records give the same files."""

import html.parser
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tier_measure.chart import KINDS, NAME, main
from tier_measure.curves import front, label_of, picture_of, round_marks
from tier_measure.errors import MeasureError
from tier_planner.measurements import Accuracy, Measurement, write_measurement

from tests.shared.tier_measure.records import measurement


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    write_measurement(path, measurement())
    return path


def drawn(out: Path, *records: Path, kinds: tuple[str, ...] = KINDS) -> dict[str, bytes]:
    assert main([*map(str, records), "--out", str(out), "--kinds", *kinds]) == 0
    return {path.suffix: path.read_bytes() for path in out.iterdir() if path.stem == NAME}


def better(record: Measurement, variant: str, scale: float, value: float) -> Measurement:
    """The record with another accuracy at one variant and scale."""
    points = (
        replace(p, accuracy=Accuracy("mAP@0.5", value, "boards", 40)) if (p.variant, p.scale) == (variant, scale) else p
        for p in record.points
    )
    return replace(record, points=tuple(points))


def test_the_same_record_gives_the_same_files(record: Path, tmp_path: Path) -> None:
    first, second = drawn(tmp_path / "first", record), drawn(tmp_path / "second", record)
    assert set(first) == {".png", ".svg", ".html"}
    assert first == second
    assert b"<dc:date>" not in first[".svg"]


def test_only_the_kinds_that_were_asked_for_are_written(record: Path, tmp_path: Path) -> None:
    assert main([str(record), "--out", str(tmp_path / "out"), "--kinds", "svg", "--name", "mine"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.svg"]


def test_every_point_of_the_front_is_labelled_and_the_targets_are_named(record: Path, tmp_path: Path) -> None:
    svg = drawn(tmp_path / "out", record, kinds=("svg",))[".svg"].decode()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    for curve in picture_of([measurement()]).curves:
        assert {label_of(point) for point in curve.front} <= set(texts)
    assert {"GPU target, 1 s", "container target, 5 s", "1 thread", "2 threads", "mAP@0.5"} <= set(texts)
    assert "boards on A CPU, 2 cores" in texts


def test_the_page_needs_no_network_and_tells_all_of_a_point(record: Path, tmp_path: Path) -> None:
    page = drawn(tmp_path / "out", record, kinds=("html",))[".html"].decode()
    loaded: list[str] = []

    class Loads(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            loaded.extend(f"{tag} {value}" for name, value in attrs if name in ("src", "href"))

    Loads().feed(page)
    assert loaded == []
    data = page[page.rindex("Plotly.newPlot(") :]
    assert "l@1" in data
    assert "memory peak 316 MiB" in data
    assert "2 threads" in data


def test_the_front_has_what_nothing_beats() -> None:
    points = [point for point in measurement().points if point.threads == 2]
    best = front(points)
    for first, second in pairwise(best):
        assert first.p50_ms < second.p50_ms
        assert first.accuracy is not None
        assert second.accuracy is not None
        assert first.accuracy.value < second.accuracy.value
    for point in points:
        assert point.accuracy is not None
        beaten = any(
            other.p50_ms <= point.p50_ms and other.accuracy and other.accuracy.value >= point.accuracy.value
            for other in best
            if other is not point
        )
        assert beaten != (point in best)


def test_less_is_better_for_errors() -> None:
    points = measurement(metric="RMSE").points
    best = front(points)
    assert best[-1].accuracy is not None
    assert best[-1].accuracy.value == min(point.accuracy.value for point in points if point.accuracy)


def test_two_machines_are_told_apart(record: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    write_measurement(other, measurement(threads=(4, 16), cpu="Another CPU"))
    svg = drawn(tmp_path / "out", record, other, kinds=("svg",))[".svg"].decode()
    names = ("A CPU, 2 cores, 1 thread", "A CPU, 2 cores, 2 threads", "Another CPU, 16 cores, 16 threads")
    assert all(name in svg for name in names)


def test_an_axis_near_one_shows_errors() -> None:
    plain, near = picture_of([measurement()]), picture_of([better(measurement(), "l", 1.0, 0.99)])
    assert plain.height(0.9) - plain.height(0.8) == pytest.approx(plain.height(0.8) - plain.height(0.7))
    # A tenth of the errors is one step, wherever it is.
    assert near.height(0.99) - near.height(0.9) == pytest.approx(near.height(0.9) - near.height(0.0))
    assert 0.98 in near.marks()


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [(0.5, 0.5, [0.5]), (0.967, 0.977, [0.968, 0.97, 0.972, 0.974, 0.976]), (3, 31, [10, 20, 30]), (0, 1, [0, 0.5, 1])],
)
def test_marks_are_round_and_at_least_three(low: float, high: float, marks: list[float]) -> None:
    assert round_marks(low, high) == pytest.approx(marks)


def test_what_cannot_be_drawn_is_said(record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = measurement()
    bare = replace(bare, points=tuple(replace(point, accuracy=None) for point in bare.points))
    with pytest.raises(MeasureError, match="no point has one"):
        picture_of([bare])
    with pytest.raises(MeasureError, match=r"several kinds: RMSE, mAP@0\.5"):
        picture_of([measurement(), measurement(metric="RMSE")])
    assert main([str(tmp_path / "none.json"), "--out", str(tmp_path / "out")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_records_of_other_kinds_are_passed_over(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**json.loads(record.read_text()), "kind": "else"}))
    out = ["--out", str(tmp_path / "out"), "--kinds", "svg"]
    assert main([str(other), str(record), *out]) == 0
    assert f"passed over, not of `tiers measure`: {other}" in capsys.readouterr().err
    assert main([str(other), *out]) == 2
    assert "is what `tiers measure` writes" in capsys.readouterr().err


def test_a_gpu_and_its_host_in_one_record_are_two_machines() -> None:
    record = measurement()
    gpu = [
        replace(point, device="cuda", precision=precision, threads=1)
        for precision in ("float32", "float16")
        for point in record.points
        if point.threads == 1
    ]
    machine = replace(record.machine, gpu="A GPU, driver 1.2")
    picture = picture_of([replace(record, machine=machine, points=(*record.points, *gpu))])
    assert picture.title == "boards"
    names = ["A CPU, 2 cores, 1 thread", "A CPU, 2 cores, 2 threads", "A GPU, float32", "A GPU, float16"]
    assert [curve.name for curve in picture.curves] == names
