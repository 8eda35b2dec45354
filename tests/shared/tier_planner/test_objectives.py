"""slo.toml: what is in it can be run in time, and what is wrong in it is named."""

from pathlib import Path

import pytest
from tier_planner.objectives import TIERS, read_objectives
from tier_planner.tables import TableError

SLO = Path(__file__).resolve().parents[3] / "shared" / "config" / "slo.toml"


@pytest.mark.parametrize(("short", "load_s_max"), [(False, 160), (True, 60)])
def test_the_trial_fits_its_time(short: bool, load_s_max: float) -> None:
    objectives = read_objectives(SLO, short=short)
    chosen = [objectives.of_tier(tier) for tier in TIERS]
    assert sum(objective.warmup_s + objective.duration_s for objective in chosen) <= load_s_max


def test_the_short_form_keeps_rate_and_bound() -> None:
    full, short = read_objectives(SLO), read_objectives(SLO, short=True)
    for name, objective in full.by_name.items():
        brief = short.named(name)
        assert (brief.rate_per_s, brief.bound_ms, brief.percentile) == (
            objective.rate_per_s,
            objective.bound_ms,
            objective.percentile,
        )
        assert brief.duration_s < objective.duration_s


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bound_ms = 300.0", "bound_ms = -1", "objective.function-row.bound_ms = -1: must be greater than 0"),
        ("bound_ms = 300.0", 'bound_ms = "fast"', "objective.function-row.bound_ms = 'fast': must be a number"),
        ("bound_ms = 300.0", "bound_ms = nan", "objective.function-row.bound_ms = nan: must be a number"),
        ("bound_ms = 300.0", "", "objective.function-row.bound_ms is missing"),
        ("bound_ms = 300.0", "bound_ms = 9000", "objective.function-row.patience_s = 5.0: ends before the bound"),
        ("percentile = 95", "percentile = 101", "percentile = 101: must be at most 100"),
        (
            'tier = "gpu"',
            'tier = "tpu"',
            "objective.gpu-board-4k.tier = 'tpu': must be one of function, container, gpu",
        ),
        ("samples_min = 380", "samples_min = 401", "samples_min = 401: only 400 arrivals are due in 20 s"),
        ("samples_min = 380", "samples_min = 1.5", "samples_min = 1.5: must be a whole number"),
        ("seed = 197", "seed = 197\nrate_per_second = 3", "rate_per_second = 3: is not a key that is read here"),
        ("lag_share_max = 0.1", "lag_share_max = 2", "rules.lag_share_max = 2: must be at most 1"),
        ("[rules]", "[rules", "slo.toml: "),
    ],
)
def test_an_error_names_the_key_and_the_value(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = SLO.read_text(encoding="utf-8")
    assert old in text
    bad = tmp_path / "slo.toml"
    bad.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_objectives(bad)
    assert str(bad) in str(caught.value)
    assert said in str(caught.value)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(TableError, match="'fast' is not known; there are function-row"):
        read_objectives(SLO).named("fast")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no-such\.toml: No such file"):
        read_objectives(tmp_path / "no-such.toml")
