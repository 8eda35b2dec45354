"""`tiers plan` and `tiers prices refresh` as a user types them."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tier_planner.measurements import write_measurement
from tiers.__main__ import main

from tests.conftest import PROJECT
from tests.synthetic import boards, boards_on_gpu, measurement, rows

CONFIG = PROJECT / "shared" / "config"
PARAMETERS = (PROJECT / "infra" / "main.parameters.json").read_text()
BOARDS = ["plan", "--model", "boards", "--requests-per-hour", "300", "--peak-factor", "3"]
FIVE_S = [*BOARDS, "--min-accuracy", "0.85", "--max-latency", "5s"]


@pytest.fixture
def records(tmp_path: Path) -> list[str]:
    folder = tmp_path / "records"
    write_measurement(folder / "boards.json", boards())
    write_measurement(folder / "gpu.json", boards_on_gpu("Tesla T4, driver 1", 100))
    write_measurement(folder / "rows.json", rows())
    (folder / "other.json").write_text("[]")
    return ["--records", str(folder)]


def test_the_answer_in_words(records: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIVE_S, *records]) == 0
    out = capsys.readouterr().out
    assert "Recommended: Container Apps 2 vCPU with m @ 0.5, 2 threads an answer" in out
    assert re.search(r"Container Apps 2 vCPU +m @ 0.5 +2 x 1 +2 \(1\) ", out)
    assert re.search(r"Functions Flex 2048 MB +wall +the function tier takes rows, not pictures", out)
    assert re.search(r"VM NC24ads A100 v4 +unknown +nothing was measured on GPU A100: run `tiers measure boards`", out)
    assert max(map(len, out.splitlines())) < 220


def test_the_answer_as_json(records: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIVE_S, *records, "--json"]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["recommended"] == "container-2"
    options = {one["hosting"]: one for one in document["options"]}
    best = options["container-2"]
    assert (best["variant"], best["scale"], best["threads"], best["replicas"]) == ("m", 0.5, 2, 2)
    assert best["low_ms"] < best["answer_ms"] < best["high_ms"]
    assert sum(best["bill"].values()) == pytest.approx(best["usd_per_month"], abs=0.01)
    assert best["usd_per_thousand"] == pytest.approx(best["usd_per_month"] / (300 * 0.73), rel=1e-3)
    assert options["function-512"]["verdict"] == "wall"


def test_a_file_and_flags(records: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.toml"
    file.write_text('model = "rows"\nmax-latency = "300ms"\nrequests-per-hour = 10\n')
    assert main(["plan", str(file), *records, "--json", "--vnet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["requirement"]["vnet"] is True
    assert document["recommended"] == "function-512"


def test_a_model_that_is_not_the_measured_one_is_named(
    records: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [replace(point, sha256="a" * 64) for point in boards().points]
    write_measurement(tmp_path / "records" / "boards.json", measurement(points))
    (tmp_path / "models" / "boards-n").mkdir(parents=True)
    (tmp_path / "models" / "boards-n" / "model.toml").write_text(f'sha256 = "{"b" * 64}"\n')
    asked = ["plan", "--model", "boards-n", "--requests-per-hour", "300", "--max-latency", "5s"]
    assert main([*asked, *records, "--models", str(tmp_path / "models")]) == 0
    said = "look at: boards-n is another file than the one that was measured: its times are an estimate"
    assert said in capsys.readouterr().out


def test_nothing_fits_is_a_status_of_its_own(
    records: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BOARDS, "--min-accuracy", "0.99", "--max-latency", "5s", *records]) == 1
    assert "No option fits. The nearest misses:\n  - at 0.92 instead of 0.99" in capsys.readouterr().out
    file = tmp_path / "plan.html"
    emit = ["--emit", "azd", "--html", str(file)]
    assert main([*BOARDS, "--min-accuracy", "0.99", "--max-latency", "5s", *records, *emit]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is nothing to deploy" in captured.err
    assert "at 0.92 instead of 0.99" in captured.err
    assert "No option fits" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "--model", "boards"], "Give either max-latency"),
        ([*BOARDS, "--max-latency", "soon"], "max-latency = 'soon': must be a time"),
        (["plan", "--model", "cats", "--max-latency", "1s", "--requests-per-hour", "1"], "No measurement knows 'cats'"),
        (["plan", "no-such.toml"], "no-such.toml: No such file"),
    ],
)
def test_what_cannot_be_planned_is_said(
    records: list[str], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *records]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tiers plan: ")
    assert said in error


ANY = ["--requests-per-hour", "60", "--max-latency", "1s"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["plan", "--model", "rows", *ANY, "--vnet", "--region", "swedencentral"],
            (
                "DEPLOY_FUNCTION=true FUNCTION_MEMORY_MB=512 FUNCTION_ALWAYS_READY=1 FUNCTION_MODELS=rows-small "
                "FUNCTION_BOUND_MS=1000 NETWORK_MODE=private AZURE_LOCATION=swedencentral"
            ),
        ),
        (
            FIVE_S,
            (
                "DEPLOY_CONTAINER=true CONTAINER_CPU=2 CONTAINER_MEMORY=4Gi CONTAINER_PROFILE= CONTAINER_THREADS=2 "
                "CONTAINER_SLOTS=1 CONTAINER_CONCURRENCY=2 CONTAINER_MODELS=boards-m CONTAINER_REPLICAS_MIN=1 "
                "CONTAINER_REPLICAS_MAX=2 NETWORK_MODE=public DEPLOY_GPU=false"
            ),
        ),
        (
            ["plan", "--model", "boards", "--min-accuracy", "0.9", *ANY],
            (
                "DEPLOY_CONTAINER_GPU=true CONTAINER_GPU_PROFILE=Consumption-GPU-NC8as-T4 GPU_MODELS=boards-l "
                "CONTAINER_GPU_REPLICAS_MIN=1"
            ),
        ),
        (
            ["plan", "--model", "boards", "--min-accuracy", "0.9", *ANY, "--budget-per-month", "500"],
            "DEPLOY_GPU=true GPU_FAMILY=t4 GPU_SIZE=Standard_NC4as_T4_v3 GPU_MACHINES_MIN=1",
        ),
    ],
)
def test_the_values_for_azd_are_those_that_infra_takes(
    records: list[str], arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *records, "--emit", "azd"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    values = dict(line.split("=", 1) for line in lines)
    assert set(expected.split()) <= set(lines)
    assert [name for name in values if f"${{{name}=" not in PARAMETERS and f"${{{name}}}" not in PARAMETERS] == []
    assert list(values.values()).count("true") == 1


class Page(HTMLParser):
    """What a browser would load, and the texts of the charts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and what it would load."""
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        """Gather the text."""
        self.text += data


@pytest.mark.parametrize("accuracy", ["0.85", "0.99"])
def test_the_page_needs_nothing_else(records: list[str], tmp_path: Path, accuracy: str) -> None:
    file = tmp_path / "plan.html"
    arguments = [*BOARDS, "--min-accuracy", accuracy, "--max-latency", "5s", *records, "--html", str(file)]
    assert main(arguments) == (0 if accuracy == "0.85" else 1)
    read = Page()
    read.feed(file.read_text())
    assert read.loads == []
    assert "script" not in read.tags
    fits = accuracy == "0.85"
    assert read.tags.count("svg") == (2 if fits else 1)
    assert ("Recommended: Container Apps 2 vCPU" in read.text) == fits
    assert "the function tier takes rows, not pictures" in read.text
    assert "$" not in read.text
    assert "m @ 0.5" in read.text


def test_a_price_list_that_cannot_be_reached_leaves_the_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prices.toml"
    file.write_bytes((CONFIG / "prices.toml").read_bytes())
    assert main(["prices", "refresh", "--file", str(file), "--url", "http://127.0.0.1:9/api"]) == 2
    assert "tiers prices refresh: The price list at http://127.0.0.1:9/api cannot be reached" in capsys.readouterr().err
    assert file.read_bytes() == (CONFIG / "prices.toml").read_bytes()
