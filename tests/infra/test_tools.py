"""A tool that is not there is not run, and one that scans nothing has not passed."""

import shutil
from pathlib import Path

import pytest

from infra.checks.outcome import FAILED, NOT_RUN, PASSED
from infra.checks.report import check
from infra.checks.tools import TYPE_CHECKER, WAIVED, Tools, checkov_outcome
from tests.conftest import PROJECT


def report(*failed: str, passed: int = 9, parsing_errors: int = 0, resources: int = 9) -> dict[str, object]:
    checks = [{"check_id": id_, "check_name": "n", "file_path": "/f", "resource": "r"} for id_ in failed]
    summary = {"passed": passed, "parsing_errors": parsing_errors, "resource_count": resources}
    return {"results": {"failed_checks": checks}, "summary": summary}


def test_checkov_passes_with_findings_that_are_waived() -> None:
    assert checkov_outcome(report(*WAIVED)).state == PASSED


def test_checkov_fails_on_a_finding_of_its_own() -> None:
    outcome = checkov_outcome(report("CKV_AZURE_59"))
    assert outcome.state == FAILED
    assert outcome.findings == ("/f: r: CKV_AZURE_59 n",)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (report(parsing_errors=1), "1 files do not parse"),
        (report(resources=0), "no resource was scanned"),
        ({"passed": 0, "failed": 0}, "nothing was scanned"),
        ([], "nothing was scanned"),
    ],
)
def test_checkov_that_scanned_nothing_has_not_passed(given: object, found: str) -> None:
    outcome = checkov_outcome(given)
    assert outcome.state == FAILED
    assert any(found in finding for finding in outcome.findings)


def test_without_any_tool_nothing_is_counted_as_passed(tmp_path: Path) -> None:
    tools = Tools(PROJECT, {"PATH": str(tmp_path), "BICEP_TYPE_CHECKER": str(tmp_path / "none")})
    outcomes = tools.outcomes()
    assert {outcome.state for outcome in outcomes} == {NOT_RUN}
    assert all(outcome.detail for outcome in outcomes)


def test_the_report_says_what_was_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(PROJECT, {"PATH": str(tmp_path), "BICEP_TYPE_CHECKER": str(tmp_path / "none")}) == 0
    told = capsys.readouterr().out
    assert "not run  Bicep compiler and linter: no bicep on the PATH" in told
    assert "19 passed, 0 failed, 8 not run, of 27" in told


def test_a_tool_that_fails_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bicep = tmp_path / "bicep"
    bicep.write_text("#!/bin/sh\necho 'main.bicep(1,1) : Error BCP057: no such name' >&2\nexit 1\n")
    bicep.chmod(0o755)
    assert check(PROJECT, {"PATH": str(tmp_path), "BICEP_TYPE_CHECKER": str(tmp_path / "none")}) == 1
    assert "Error BCP057" in capsys.readouterr().out


@pytest.mark.skipif(not (PROJECT / TYPE_CHECKER).is_file(), reason="no offline type checker on this machine")
def test_the_type_checker_finds_a_property_that_does_not_exist(project_copy: Path) -> None:
    environ = {"PATH": "", "BICEP_TYPE_CHECKER": str((PROJECT / TYPE_CHECKER).resolve())}
    assert Tools(project_copy, environ).bicep_types().state == PASSED
    registry = project_copy / "infra" / "modules" / "registry.bicep"
    registry.write_text(registry.read_text().replace("adminUserEnabled: false", "adminUser: false"))
    outcome = Tools(project_copy, environ).bicep_types()
    assert outcome.state == FAILED
    assert any("adminUser" in finding for finding in outcome.findings)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_a_unit_with_a_wrong_setting_is_found(project_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PATH": "/usr/bin:/bin"}
    assert Tools(project_copy, environ).systemd().state == PASSED
    unit = project_copy / "vm-gpu" / "gpu-api.service"
    unit.write_text(unit.read_text().replace("TimeoutStopSec=250", "TimeoutStop=250\nRestart=sometimes"))
    outcome = Tools(project_copy, environ).systemd()
    assert outcome.state == FAILED
    assert any("TimeoutStop" in finding for finding in outcome.findings)


@pytest.fixture
def project_copy(tmp_path: Path) -> Path:
    """infra/ and the machine's two files, to be broken."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "infra", tmp_path / "infra", ignore=ignore)
    (tmp_path / "vm-gpu").mkdir()
    for name in ("cloud-init.yaml", "gpu-api.service"):
        shutil.copy(PROJECT / "vm-gpu" / name, tmp_path / "vm-gpu" / name)
    return tmp_path
