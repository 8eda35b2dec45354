"""A requirement: flags and file have the same keys, and what cannot be meant is named."""

from pathlib import Path

import pytest
from tier_planner.requirement import read_requirement, time_words
from tier_planner.tables import TableError

FILE = """model = "boards"
min-accuracy = 0.9
max-latency = "5s"
requests-per-hour = 360
vnet = true
"""


def test_a_file_and_flags_over_it(tmp_path: Path) -> None:
    file = tmp_path / "requirement.toml"
    file.write_text(FILE)
    read = read_requirement(file, {"budget-per-month": 100.0, "peak-factor": 3.0, "vnet": None})
    assert (read.model, read.accuracy_min, read.bound_ms, read.percentile) == ("boards", 0.9, 5000, 95)
    assert read.rate_per_s == 0.1
    assert read.peak_per_s == pytest.approx(0.3)
    assert (read.vnet, read.budget_usd, read.background, read.cold_starts) == (True, 100, False, False)
    assert read.words() == (
        "boards: accuracy of at least 0.9, p95 within 5 s, 360 requests an hour (peak 3 times that), "
        "inside a virtual network, at most 100 USD a month"
    )


def test_a_background_flag_replaces_the_latency_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "requirement.toml"
    file.write_text(FILE)
    read = read_requirement(file, {"background": "10min", "max-latency": None})
    assert (read.background, read.bound_ms) == (True, 600_000)


@pytest.mark.parametrize(("text", "time_ms"), [("300ms", 300), ("5s", 5000), ("1.5 s", 1500), ("2h", 7_200_000)])
def test_times_have_units(text: str, time_ms: float) -> None:
    given = {"model": "m", "max-latency": text, "requests-per-hour": 1.0}
    assert read_requirement(None, given).bound_ms == time_ms


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"5s"', '"5"', "max-latency = '5': must be a time such as 300ms"),
        ('"5s"', '"0s"', "max-latency = '0s': must be a time"),
        ('"5s"', '"1.2.3s"', "max-latency = '1.2.3s': must be a time"),
        ('max-latency = "5s"\n', "", "Give either max-latency"),
        ("vnet = true", 'vnet = true\nbackground = "1h"', "Give either max-latency"),
        ("360", "0", "requests-per-hour = 0: must be greater than 0"),
        ("vnet = true", 'vnet = "yes"', "vnet = 'yes': must be true or false"),
        ("vnet = true", "peak-factor = 0.5", "peak-factor = 0.5: must be at least 1"),
        ("vnet = true", "max-cost = 5", "max-cost = 5: is not a key"),
        (
            "vnet = true",
            '[[measured]]\nhosting = "x"\nvariant = "n"\np50_ms = 2\np95_ms = 1\nsource = "me"',
            "measured[0].p95_ms = 1: must be at least 2",
        ),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    file = tmp_path / "requirement.toml"
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(TableError) as error:
        read_requirement(file, {})
    assert said in str(error.value)


def test_times_are_said_as_people_say_them() -> None:
    said = [time_words(time_ms) for time_ms in (4.6, 300, 1234, 60_000, 600_000, 7_200_000)]
    assert said == ["4.6 ms", "300 ms", "1.23 s", "60 s", "10 min", "2 h"]
