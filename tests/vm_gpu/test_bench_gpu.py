"""What the benchmark asks the driver, answered by a program in the place of `nvidia-smi`."""

from pathlib import Path

import pytest
from gpu_bench.gpu import Question


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the driver's program lies, and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def answers(driver: Path, body: str) -> None:
    driver.write_text(f'#!/bin/sh\necho "$*" > {driver.parent}/asked\n{body}\n')
    driver.chmod(0o755)


def test_the_first_gpu_answers_by_name(driver: Path) -> None:
    answers(driver, "echo 'NVIDIA H100 80GB HBM3, 580.159.04, 1980'; echo 'another, 1, 2'")
    question = Question("name", "driver_version", "clocks.sm")
    assert question.values() == {"name": "NVIDIA H100 80GB HBM3", "driver_version": "580.159.04", "clocks.sm": "1980"}
    assert question.number("clocks.sm") == 1980
    asked = (driver.parent / "asked").read_text().strip()
    assert asked == "--query-gpu=name,driver_version,clocks.sm --format=csv,noheader,nounits"


def test_what_the_driver_does_not_say_is_no_number(driver: Path) -> None:
    answers(driver, "echo '[N/A]'")
    assert Question("clocks.sm").number("clocks.sm") is None


@pytest.mark.parametrize("body", ["echo 'No devices were found'; exit 6", ":"])
def test_a_driver_without_a_gpu_answers_nothing(driver: Path, body: str) -> None:
    answers(driver, body)
    assert Question("name", "clocks.sm").values() == {}


def test_without_a_driver_there_is_no_answer(driver: Path) -> None:
    assert Question("name").values() == {}
    assert Question("clocks.sm").number("clocks.sm") is None
