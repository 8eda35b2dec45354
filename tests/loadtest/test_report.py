"""The report and the table: they hold what was measured and nothing that lies elsewhere."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tier_planner.objectives import read_objectives
from tier_planner.records import Record, Sample

from loadtest.arrivals import poisson_arrivals
from loadtest.breakdown import LAG, REST, breakdown
from loadtest.measurement import measured
from loadtest.paths import SLO
from loadtest.report import write_report
from loadtest.table import COLUMNS, reasons, verdict_table
from loadtest.tier_facts import TierFacts

SLO_NOW = read_objectives(SLO)


def record_of(tier: str, samples: Sequence[Sample], device: str = "cpu", power: Sequence[int] = ()) -> Record:
    objective = SLO_NOW.of_tier(tier)
    return measured(objective, SLO_NOW.rules, TierFacts(device, 2, "n", *power), samples, "http://127.0.0.1:1")


def samples_of(tier: str, latency_ms: float) -> list[Sample]:
    objective = SLO_NOW.of_tier(tier)
    due_s = poisson_arrivals(objective.rate_per_s, objective.duration_s, objective.seed)
    stages = {"decode": latency_ms * 0.2, "infer": latency_ms * 0.5}
    return [Sample(due, 0.5, latency_ms * (1 + 0.1 * (n % 5)), 200, "", stages) for n, due in enumerate(due_s)]


@pytest.fixture
def records() -> list[Record]:
    failing = samples_of("container", 6000)
    failing[3:6] = [replace(sample, status=503, error="status 503 <overloaded>") for sample in failing[3:6]]
    return [
        record_of("function", samples_of("function", 4)),
        record_of("container", failing),
        record_of("gpu", samples_of("gpu", 900), "cpu-stand-in"),
    ]


class Page(HTMLParser):
    """Ids, links and whether every element was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name.endswith("href") or name == "src":
                self.links.append(value or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "br"):
            assert self.open.pop() == tag


def test_the_report_holds_everything_it_shows(tmp_path: Path, records: list[Record]) -> None:
    text = write_report(tmp_path / "deep" / "report.html", records).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert "url(http" not in text
    assert "@import" not in text


def test_the_report_says_each_verdict_and_why(tmp_path: Path, records: list[Record]) -> None:
    text = write_report(tmp_path / "report.html", records).read_text(encoding="utf-8")
    assert re.findall(r'<h2>(\w+)</h2><span class="badge ([\w-]+)">', text) == [
        ("Function", "pass"),
        ("Container", "fail"),
        ("GPU", "not-judged"),
    ]
    assert "status 503 &lt;overloaded&gt;" in text
    assert text.count('<svg role="img"') == 9
    assert not re.search(r"#0[a-d]0[a-d][0-9a-f]{2}", text), "a plot's colour was not replaced by the page's"


def test_the_report_says_with_what_power_the_tier_ran_where_it_is_known(tmp_path: Path) -> None:
    for power, said in (((), ", 2 threads an answer. "), ((3, 6), ", 2 threads an answer, 3 at a time, 6 cores. ")):
        one = record_of("container", samples_of("container", 50), power=power)
        assert said in write_report(tmp_path / "report.html", [one]).read_text(encoding="utf-8")


@pytest.mark.parametrize("error", ["", "no answer within 15 s"])
def test_odd_runs_are_drawn_too(tmp_path: Path, error: str) -> None:
    one = [Sample(1.0, 0.1, None if error else 50.0, 0 if error else 200, error)]
    for samples in (one, []):
        text = write_report(tmp_path / "report.html", [record_of("container", samples)]).read_text(encoding="utf-8")
        assert "FAIL" in text


def test_the_stages_and_the_rest_add_up(records: list[Record]) -> None:
    samples = records[0].samples
    shares = breakdown(samples)
    assert [share.stage for share in shares] == [LAG, "decode", "infer", REST]
    mean_ms = sum(sample.latency_ms or 0 for sample in samples) / len(samples)
    assert sum(share.mean_ms for share in shares) == pytest.approx(mean_ms)
    assert sum(share.slow_ms for share in shares) == pytest.approx(4 * 1.4)
    assert breakdown([replace(samples[0], error="status 500")]) == ()


def test_the_table_is_aligned(records: list[Record]) -> None:
    head, *rows = verdict_table(records).splitlines()
    width = sum(width for _, width, _ in COLUMNS) + 2 * (len(COLUMNS) - 1)
    assert all(len(line) <= width for line in [head, *rows])
    starts = {line.index(verdict) for line in rows for verdict in ("PASS", "FAIL", "NOT JUDGED") if verdict in line}
    assert starts == {head.index("verdict")}


def test_reasons_name_the_tier(records: list[Record]) -> None:
    text = reasons(records)
    assert text.startswith("container: FAIL\n  - ")
    assert "gpu: NOT JUDGED" in text
    assert "function" not in text
