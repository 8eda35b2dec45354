"""`tiers measure` from the command line to the record, on real small models."""

import csv
import json
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tier_measure.journal import Journal
from tier_measure.measure import main
from tier_measure.rounds import Rounds
from tier_measure.settings import SCALES, Pace, chosen, quick, settings_of, thread_counts
from tier_measure.workload import rows_workload
from tier_planner.measurements import Measurement, read_measurement

from tests.models import COLUMNS, detection_model, squares_picture

DETECTION = ("--quick", "--scales", "1", "0.5")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "squares.png"
    path.write_bytes(squares_picture(256, 128, [(16, 32), (200, 64)]))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows whose right answer is known: "large" where the sum exceeds 3, but for every tenth."""
    rng = random.Random(1)  # noqa: S311 - rows, no secret
    path = tmp_path / "sizes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "size"])
        for number in range(40):
            values = [round(rng.uniform(0, 2), 2) for _ in COLUMNS]
            large = (sum(values) > 3) != (number % 10 == 0)
            writer.writerow([*values, "large" if large else "small"])
    return path


def measured(out: Path, *arguments: str | Path) -> Measurement:
    assert main([*map(str, arguments), "--out", str(out)]) == 0
    return read_measurement(out)


def test_a_family_becomes_a_point_for_each_scale_and_thread_count(
    models_dir: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "squares.json"
    options = ("squares", "--models", models_dir, "--picture", picture, "--threads", "1", "2", *DETECTION)
    record = measured(out, *options)
    # Quick: with fewer threads than the most, only the cheapest work.
    assert [(point.scale, point.threads) for point in record.points] == [(1.0, 2), (0.5, 1), (0.5, 2)]
    whole, half = record.points[0], record.points[2]
    assert (whole.model, whole.variant, whole.device, whole.precision) == ("squares-n", "n", "cpu", "float32")
    assert (whole.pixels, whole.batch) == (16 * 64**2, 4)
    assert (half.pixels, half.batch) == (4 * 64**2, 4)
    assert all(len(point.latencies_ms) >= 3 for point in record.points)
    assert all(sum(point.stages_ms.values()) <= max(point.latencies_ms) for point in record.points)
    assert whole.memory_peak_mib is not None
    assert whole.sha256 == half.sha256 == sha256((models_dir / "squares-n" / "model.onnx").read_bytes()).hexdigest()
    assert whole.accuracy is None
    assert record.workload.startswith("squares.png, 256 x 128 px")
    assert record.command.startswith("tiers measure squares --models ")
    assert list(out.parent.iterdir()) == [out]
    told = capsys.readouterr().out
    assert "serial share" in told
    assert "two thread counts fit it whatever they are" in told
    assert "infer over the pixels that the graph sees" in told


def test_the_full_run_measures_every_setting(models_dir: Path) -> None:
    every = settings_of(chosen(models_dir, "sizes"), SCALES, (1, 10), (1, 2))
    assert [setting.key for setting in every] == [
        f"sizes-linear, {rows} rows, threads {threads}" for rows in (1, 10) for threads in (1, 2)
    ]
    assert [setting.key for setting in quick(every)] == [every[0].key, every[1].key, every[3].key]
    pictures = settings_of(chosen(models_dir, "squares"), SCALES, (1,), (1,))
    assert [setting.scale for setting in pictures] == [1, 0.5, 0.25]


@pytest.mark.parametrize(("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])])
def test_threads_double_up_to_the_cores(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts


@pytest.mark.parametrize("hurry", [{"again_s_max": 0.0}, {"again_until_s": 0.0}])
def test_in_a_hurry_every_setting_is_measured_once(models_dir: Path, tmp_path: Path, hurry: dict[str, float]) -> None:
    rows = tmp_path / "plain.csv"
    rows.write_text("length,width,weight\n1,1,0.5\n")
    settings = settings_of(chosen(models_dir, "sizes"), SCALES, (1, 10), (1,))
    pace = Pace(rounds=3, box_s=0.0, repetitions_max=1, **hurry)
    journal = Journal(tmp_path / "journal", {})
    journal.start()
    Rounds(settings, rows_workload([], rows, [1, 10]), pace, "cpu", cores=1).run(journal, lambda *_: None)
    assert [finding["block"] for finding in journal.findings if "block" in finding] == [s.key for s in settings]
    assert len(journal.find(calibration=2)) == 1


def test_rows_are_judged_by_the_column_that_the_model_does_not_take(
    models_dir: Path, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sizes.json"
    options = ("sizes", "--models", models_dir, "--quick", "--rows", "1", "20", "--threads", "1")
    record = measured(out, *options, "--data", rows)
    assert [point.batch for point in record.points] == [1, 20]
    accuracy = record.points[0].accuracy
    assert accuracy is not None
    assert (accuracy.metric, accuracy.value, accuracy.count) == ("accuracy", 0.9, 40)
    assert 0.5 < accuracy.more["roc_auc"] < 1
    assert record.points[1].accuracy == accuracy
    assert record.points[0].scale is None


def test_the_manifest_says_how_good_where_no_data_is_given(models_dir: Path, picture: Path, tmp_path: Path) -> None:
    manifest = models_dir / "squares-n" / "model.toml"
    stated = '[accuracy]\nmetric = "mAP@0.5"\nvalue = 0.9\ndata = "squares"\ncount = 3\nmeasured = "by hand"\n'
    manifest.write_text(f"{manifest.read_text()}{stated}[accuracy.more]\nrecall_small = 0.8\nmap_50_scale_0_5 = 0.7\n")
    options = ("squares", "--models", models_dir, "--picture", picture, "--threads", "1", *DETECTION, "0.25")
    found = {point.scale: point.accuracy for point in measured(tmp_path / "out.json", *options).points}
    assert found[1.0] is not None
    assert found[0.5] is not None
    assert (found[1.0].value, dict(found[1.0].more)) == (0.9, {"recall_small": 0.8})
    assert (found[0.5].value, dict(found[0.5].more)) == (0.7, {})
    assert found[0.25] is None


def test_what_broke_off_is_taken_up_and_not_measured_again(
    models_dir: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = ["squares", "--models", str(models_dir), "--picture", str(picture), "--threads", "1", "--quick"]
    options += ["--out", str(out), "--scales", "1", "0.5"]
    add = Journal.add

    def interrupted(journal: Journal, **finding: Any) -> None:
        add(journal, **finding)
        if len(journal.findings) == 3:  # the calibration and two blocks
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", interrupted)
    assert main(options) == 130
    assert not out.exists()
    before = (tmp_path / "out.json.journal").read_text().splitlines()
    assert len(before) == 4
    monkeypatch.setattr(Journal, "add", add)
    assert main([*options, "--resume"]) == 0
    kept = {round(value, 3) for line in before if "latencies_ms" in line for value in json.loads(line)["latencies_ms"]}
    record = read_measurement(out)
    assert kept <= {value for point in record.points for value in point.latencies_ms}
    assert "3 findings taken up" in capsys.readouterr().err
    assert main([*options, "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_another_measurement_is_not_taken_up(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", {"models": {"n": "1"}, "threads": [1]}).start()
    with pytest.raises(Exception, match=r"measured something else \(other models\)"):
        Journal(tmp_path / "journal", {"models": {"n": "2"}, "threads": [1]}).resume()


def test_a_line_cut_short_is_measured_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", {"a": 1})
    journal.start()
    journal.add(block="n", round=0)
    with journal.path.open("a") as file:
        file.write('{"block": "n", "rou')
    again = Journal(journal.path, {"a": 1})
    again.resume()
    assert again.findings == [{"block": "n", "round": 0}]
    again.add(block="n", round=1)
    assert len(journal.path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cubes",), 'has no model or family "cubes"; it has sizes, sizes-linear, squares, squares-n'),
        (("squares", "--scales", "2"), "scale = 2 is outside"),
        (("squares", "--threads", "0"), "must be at least 1"),
        (("squares", "--picture", "{models}/squares-n/model.toml"), "is no picture"),
        (("squares", "--data", "nowhere.txt"), "must be a COCO file"),
        (("sizes",), "sizes-linear has no golden rows to send; name a CSV file with --data"),
        (("sizes", "--data", "nowhere.csv"), "cannot be read as CSV"),
        (("squares", "--provider", "cuda"), "has no CUDA provider"),
        (("--laws", "nowhere.json"), "nowhere.json: No such file"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    models_dir: Path, tmp_path: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(models=models_dir) for argument in arguments]
    assert main([*given, "--models", str(models_dir), "--quick", "--out", str(tmp_path / "out.json")]) == 2
    assert said in capsys.readouterr().err


def test_the_command_line_prints_json_for_a_program(
    models_dir: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detection_model(models_dir, "squares-s")
    tiers = [sys.executable, "-m", "tiers", "measure"]
    options = ["squares", "--models", str(models_dir), "--picture", str(picture), "--quick", "--scales", "1"]
    options += ["--threads", "1", "2", "--json", "--out", str(tmp_path / "out.json")]
    done = subprocess.run([*tiers, *options], capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert {point["model"] for point in document["measurement"]["points"]} == {"squares-n", "squares-s"}
    assert [law["held_back"] for law in document["laws"]["amdahl"]] == [None, None]
    assert "\x1b" not in done.stderr  # no bar where nobody watches
    for what, said in (("--laws", "serial share"), ("--table", "| `n` | 1 | – |")):
        assert main([what, document["record"]]) == 0
        assert said in capsys.readouterr().out
