"""The planner against the load test: one setting of a tiny detector, from its measurement to the written table."""

import json
from pathlib import Path

import pytest
from tier_planner.candidates import Evidence
from tier_planner.measurements import write_measurement
from tier_planner.options import response_ms
from tier_planner.predict import candidates

from loadtest.validate_plan import chosen, here, main, typical_seed
from tests.synthetic import boards, measurement, picture_point
from tests.tiers import free_port


def test_a_setting_names_its_candidate() -> None:
    every = candidates(here(boards()), "boards", Evidence((boards(),)))
    two, one = chosen("n:0.5:2", every), chosen("n:0.5:1", every)
    assert two
    assert one
    assert (two.threads, two.slots, one.threads, one.slots) == (2, 1, 1, 2)
    alone = chosen("n:0.5:1:1", every)
    assert alone
    assert alone.slots == 1
    assert chosen("x:0.5:1", every) is None
    assert (two.low, two.high) == (1.0, 1.0)


def test_a_typical_schedule_bursts_as_a_long_time_would() -> None:
    (one,) = [
        candidate
        for candidate in candidates(here(boards()), "boards", Evidence((boards(),)))
        if (candidate.variant, candidate.scale, candidate.threads) == ("n", 0.25, 2)
    ]
    rate_per_s = 0.7 / 0.034
    predicted_ms = response_ms(one, rate_per_s, 1, 95)
    seed, replayed_ms = typical_seed(one, rate_per_s, 20.0, predicted_ms)
    assert replayed_ms == pytest.approx(predicted_ms, rel=0.05)
    assert typical_seed(one, rate_per_s, 20.0, predicted_ms) == (seed, replayed_ms)


@pytest.mark.slow
def test_one_setting_from_measurement_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "measured.json", tmp_path / "out" / "validation.json"
    # A time that is surely too long: the load is light, and the verdict about the error is a miss.
    point = picture_point("n", 0.25, 1, faster=0.05, family="board-defects")
    write_measurement(source, measurement([point]))
    arguments = ["--measurement", str(source), "--setting", "n:0.25:1:1", "--loads", "0.5", "--seconds", "6"]
    assert main([*arguments, "--port", str(free_port()), "--out", str(out)]) == 1
    document = json.loads(out.read_text())
    (row,) = document["rows"]
    assert (row["model"], row["threads"], row["slots"], row["errors"]) == ("board-defects-n", 1, 1, 0)
    assert 0 < row["measured_ms"] < row["predicted_ms"]
    assert document["median_error"] == pytest.approx(row["error"], abs=1e-3)
    table = out.with_suffix(".md").read_text()
    assert "| n @ 0.25 | 1 x 1 | 50% |" in table
    assert table in capsys.readouterr().out


def test_a_setting_that_was_not_measured_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "measured.json"
    write_measurement(source, boards("board-defects"))
    assert main(["--measurement", str(source), "--setting", "x:1:1"]) == 2
    assert "x:1:1 was not measured; there are n:1.0:1" in capsys.readouterr().out
