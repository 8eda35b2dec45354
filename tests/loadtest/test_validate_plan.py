"""The planner against the load test: one setting of a tiny detector, from its measurement to the written table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tier_planner.candidates import Evidence
from tier_planner.measurements import write_measurement
from tier_planner.options import response_ms
from tier_planner.predict import candidates
from tier_planner.records import Ran

from loadtest.processes import TrialError
from loadtest.validate_plan import check_power, chosen, here, main, typical_seed
from loadtest.validation import Row, shortcomings
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


def row(setting: str, load: float, **changes: Any) -> Row:
    """A good row: predicted and measured agree, every arrival was answered, the generator was on time."""
    made = Row(setting, "boards-n", 0.5, 1, 1, load, 10 * load, 100, 1, 100.0, 100.0, 100.0, 0, 2.0)
    return replace(made, **changes)


def test_four_settings_at_three_loads_without_fault_are_enough() -> None:
    rows = [row(setting, load) for setting in "abcd" for load in (0.3, 0.5, 0.7)]
    assert shortcomings(rows, 0.15) == []
    (few,) = shortcomings(rows[:-1], 0.15)
    assert few.startswith("3 settings have 3 loads")
    (few,) = shortcomings(rows[:9] + [row("d", 0.3)] * 3, 0.15)
    assert few.startswith("3 settings have 3 loads")


def test_misses_errors_and_a_late_generator_are_named() -> None:
    rows = [row(setting, load, predicted_ms=130.0) for setting in "abcd" for load in (0.3, 0.5, 0.7)]
    rows[0] = replace(rows[0], errors=2)
    rows[1] = replace(rows[1], lag_p99_ms=12.0)
    miss, errors, late = shortcomings(rows, 0.15)
    assert "30.0%, is over 15%" in miss
    assert errors.startswith("a at 3/s: 2 of 100")
    assert late.startswith("a at 5/s: the generator was 12 ms late")


@pytest.mark.slow
def test_one_setting_from_measurement_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "measured.json", tmp_path / "out" / "validation.json"
    # A time that is surely too long: the load is light, and the verdict about the error is a miss.
    point = picture_point("n", 0.25, 1, faster=0.05, family="board-defects")
    write_measurement(source, measurement([point]))
    arguments = ["--measurement", str(source), "--setting", "n:0.25:1:1", "--loads", "0.5", "--seconds", "6"]
    assert main([*arguments, "--port", str(free_port()), "--out", str(out)]) == 1
    document = json.loads(out.read_text())
    (only,) = document["rows"]
    assert (only["model"], only["threads"], only["slots"], only["errors"]) == ("board-defects-n", 1, 1, 0)
    assert 0 < only["measured_ms"] < only["predicted_ms"]
    assert document["median_error"] == pytest.approx(only["error"], abs=1e-3)
    table = out.with_suffix(".md").read_text()
    assert "| n @ 0.25 | 1 x 1 | 50% |" in table
    assert table in capsys.readouterr().out


def test_a_tier_that_ran_otherwise_than_was_predicted_proves_nothing() -> None:
    (one, *_) = candidates(here(boards()), "boards", Evidence((boards(),)))
    ran = Ran("container", "this machine", "cpu", one.model, one.variant, one.scale, one.threads, "", one.slots, 2)
    for same in (ran, replace(ran, slots=None), replace(ran, threads=None)):
        check_power(one, same)
    with pytest.raises(TrialError, match=rf"the tier ran with 7 slots, the prediction is for {one.slots}"):
        check_power(one, replace(ran, slots=7))
    with pytest.raises(TrialError, match=r"the tier ran with 9 threads"):
        check_power(one, replace(ran, threads=9))


def test_a_setting_that_was_not_measured_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "measured.json"
    write_measurement(source, boards("board-defects"))
    assert main(["--measurement", str(source), "--setting", "x:1:1"]) == 2
    assert "x:1:1 was not measured; there are n:1.0:1" in capsys.readouterr().out
