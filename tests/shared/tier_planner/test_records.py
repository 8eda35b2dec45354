"""Records: what is written is read back, and a damaged one is refused with the key that is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tier_planner.objectives import read_objectives
from tier_planner.records import Figures, Machine, Ran, Record, Sample, Verdict, read_record, write_record
from tier_planner.tables import TableError

SLO = Path(__file__).resolve().parents[3] / "shared" / "config" / "slo.toml"


@pytest.fixture
def record() -> Record:
    return Record(
        written_at="2026-11-23T09:00:00+00:00",
        ran=Ran("container", "Container Apps 2 vCPU", "cpu", "board-defects-n", "n", 1.0, 2, "abc+"),
        machine=Machine("AMD EPYC", 2, None, 16000, "Linux 6", {"python": "3.12.1"}),
        objective=read_objectives(SLO).of_tier("container"),
        figures=Figures(2, 1, 0.5, 2.0, 1.0, 12.34, None, None, None, 0.5),
        verdict=Verdict("FAIL", ("slow",)),
        samples=(
            Sample(0.5, 0.12, 12.34, 200, "", {"decode": 1.5, "infer": 8.0}),
            Sample(0.75, 0.1, None, 0, "no answer within 15 s"),
        ),
    )


def test_a_record_survives_the_disk(tmp_path: Path, record: Record) -> None:
    of_another_power = replace(record, ran=replace(record.ran, threads=None, slots=2, cores=4))
    for written in (record, replace(record, machine=None), of_another_power):
        write_record(tmp_path / "new" / "record.json", written)
        assert read_record(tmp_path / "new" / "record.json") == written
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["record.json"]


def test_a_record_from_before_slots_and_cores_were_asked_for_is_read(tmp_path: Path, record: Record) -> None:
    path = tmp_path / "record.json"
    write_record(path, replace(record, ran=replace(record.ran, slots=2, cores=4)))
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["ran"]["slots"], document["ran"]["cores"]
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_record(path) == record


def test_sample_times_are_rounded_to_a_hundredth(tmp_path: Path, record: Record) -> None:
    exact = replace(record.samples[0], latency_ms=12.345678)
    write_record(tmp_path / "record.json", replace(record, samples=(exact,)))
    assert read_record(tmp_path / "record.json").samples[0].latency_ms == 12.35


def _damage(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Sets the dotted key."""

    def apply(document: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for part in path:
            document = document[part]
        document[last] = value

    return apply


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schema", 99, "schema = 99: only 1 is read here"),
        ("ran.device", "tpu", "ran.device = 'tpu': must be one of cpu, cuda, cpu-stand-in"),
        ("ran.slots", 0, "ran.slots = 0: must be at least 1"),
        ("verdict.outcome", "MAYBE", "verdict.outcome = 'MAYBE': must be one of PASS, FAIL, NOT JUDGED"),
        ("samples.status", [200], "samples.status = 1: must have as many entries as due_s, 2"),
        ("samples.lag_ms", [0.1, None], "samples.lag_ms = None: every entry must be a number"),
        ("samples.latency_ms", ["fast", 1], "samples.latency_ms = 'fast': every entry must be a number or null"),
        ("samples.stages_ms.decode", [1.0], "samples.decode = 1"),
        ("objective.bound_ms", 0, "objective.bound_ms = 0: must be greater than 0"),
        ("machine.cores_visible", 0, "machine.cores_visible = 0: must be at least 1"),
        ("surprise", 1, "surprise = 1: is not a key that is read here"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, record: Record, key: str, value: object, said: str) -> None:
    path = tmp_path / "record.json"
    write_record(path, record)
    document = json.loads(path.read_text(encoding="utf-8"))
    _damage(key, value)(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_record(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for text in ("", "[1]", '{"schema": 1', "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(TableError, match=r"record\.json"):
            read_record(path)
