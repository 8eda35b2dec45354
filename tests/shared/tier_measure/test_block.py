"""A block answers for as long as it was told, in a process that did nothing else."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tier_measure.block import BlockReport, BlockRequest, measure_block

from tests.models import squares_picture


@pytest.fixture
def request_of(models_dir: Path, tmp_path: Path) -> BlockRequest:
    body = tmp_path / "body"
    body.write_bytes(squares_picture(128, 64, [(16, 32), (96, 16)]))
    return BlockRequest(str(models_dir / "squares-n"), str(body), 1.0, 1, "cpu", 0.05, 10, 1)


def in_process_of_its_own(request: BlockRequest) -> dict[str, Any]:
    command = [sys.executable, "-m", "tier_measure.block"]
    done = subprocess.run(command, input=json.dumps(asdict(request)), capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def changed(request: BlockRequest, **values: Any) -> BlockReport:
    return measure_block(BlockRequest(**{**asdict(request), **values}))


def test_each_answer_has_its_time_and_its_stages(request_of: BlockRequest) -> None:
    report = measure_block(request_of)
    assert 1 <= len(report.latencies_ms) == len(report.stages_ms) <= 10
    for latency_ms, stages_ms in zip(report.latencies_ms, report.stages_ms, strict=True):
        assert list(stages_ms) == ["decode", "preprocess", "infer", "postprocess"]
        assert sum(stages_ms.values()) <= latency_ms
    assert report.throughput_per_s == pytest.approx(len(report.latencies_ms) / sum(report.latencies_ms) * 1e3)


def test_tiles_are_counted_at_the_scale_that_was_asked_for(request_of: BlockRequest) -> None:
    assert measure_block(request_of).steps == 4  # three tiles of 64 px over 128 px, and the whole picture
    assert changed(request_of, scale=0.5).steps == 1


def test_one_answer_that_outlasts_the_box_counts_and_a_short_first_one_does_not(request_of: BlockRequest) -> None:
    assert len(changed(request_of, box_s=0.0).latencies_ms) == 1
    assert len(changed(request_of, box_s=60.0, repetitions_max=3).latencies_ms) == 3


def test_several_callers_all_get_answers(request_of: BlockRequest) -> None:
    assert changed(request_of, callers=3).throughput_per_s > 0


def test_a_process_of_its_own_needs_less_memory_than_one_that_did_more(request_of: BlockRequest) -> None:
    fresh, here = in_process_of_its_own(request_of), measure_block(request_of)
    assert here.memory_peak_mib is not None
    assert 10 < fresh["memory_peak_mib"] < here.memory_peak_mib


def test_rows_are_answered_too(models_dir: Path, tmp_path: Path) -> None:
    body = tmp_path / "rows"
    body.write_text(json.dumps({"rows": [{"length": 1, "width": 2, "weight": 3}] * 7}))
    report = measure_block(BlockRequest(str(models_dir / "sizes-linear"), str(body), 1.0, 1, "cpu", 0.01, 5, 1))
    assert report.steps == 0
    assert list(report.stages_ms[0]) == ["decode", "infer", "postprocess"]


def test_a_model_that_cannot_answer_says_why(request_of: BlockRequest) -> None:
    Path(request_of.body).write_bytes(b"no picture")
    command = [sys.executable, "-m", "tier_measure.block"]
    done = subprocess.run(command, input=json.dumps(asdict(request_of)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no picture of a kind read here" in done.stderr
