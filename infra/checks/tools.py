"""Checks by tools that may or may not be on this machine. One that is missing says so and is not counted as good."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.checks.outcome import Outcome, judged, not_run

TYPE_CHECKER = Path("..", "shared", "bicep", "check_bicep.py")
WAIVED = {
    "CKV_AZURE_17": "callers prove themselves by key or network; client certificates would shut browsers out",
    "CKV_AZURE_35": "Deny in private mode, which the scanner cannot work out; our own policy checks it",
    "CKV_AZURE_95": "a platform update of the kernel would leave the GPU driver behind; new images bring both",
    "CKV_AZURE_97": "needs a feature that not every subscription has: GPU_ENCRYPTION_AT_HOST=true",
    "CKV_AZURE_139": "Disabled in private mode; our own policy checks it",
    "CKV_AZURE_163": "scanning images is a subscription-wide plan of Defender, not a property of the registry",
    "CKV_AZURE_166": "quarantine needs the Premium size, which public mode does not take",
    "CKV_AZURE_206": "packages and jobs can be made again: one region suffices",
    "CKV_AZURE_212": "instances come with requests: at rest there are none, on purpose",
    "CKV_AZURE_213": "Flex Consumption has no health check path; the platform replaces instances itself",
    "CKV_AZURE_222": "Disabled in private mode; our own policy checks it",
    "CKV_AZURE_225": "zone redundancy needs two instances that are always on",
}
"""Findings of checkov that we know of and why they stand."""


class Tools:
    """The tools, run from the root of the repository."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = dict(environ)

    def outcomes(self) -> list[Outcome]:
        """Every tool's."""
        return [
            self.bicep_types(),
            self.bicep_compiler(),
            self.checkov(),
            self.cloud_init(),
            self.systemd(),
            self.hadolint(),
            self.actionlint(),
            self.azd_schema(),
        ]

    def bicep_types(self) -> Outcome:
        """Types, scopes and module parameters, by a checker that stands beside the project on some machines."""
        name = "Bicep types (offline checker)"
        checker = Path(self._environ.get("BICEP_TYPE_CHECKER", self._root / TYPE_CHECKER))
        if not checker.is_file():
            return not_run(name, "no offline checker on this machine")
        done = self._run([sys.executable, str(checker), "infra"])
        warnings = re.findall(r"^.*: warning: .*$", done.stdout, re.MULTILINE)
        summary = (done.stderr.strip().splitlines() or ["no summary"])[-1]
        return judged(name, _lines(done, r": error: ") if done.returncode else (), "; ".join([summary, *warnings]))

    def bicep_compiler(self) -> Outcome:
        """The real compiler and its linter."""
        name = "Bicep compiler and linter"
        if not self._has("bicep"):
            return not_run(name, "no bicep on the PATH; the infra workflow runs it")
        build = self._run(["bicep", "build", "infra/main.bicep", "--stdout"])
        lint = self._run(["bicep", "lint", "infra/main.bicep"])
        findings = [line for done in (build, lint) if done.returncode for line in done.stderr.splitlines() if line]
        return judged(name, findings, "build and lint")

    def checkov(self) -> Outcome:
        """Known misconfigurations. It answers a file that it cannot parse with success: we ask for its counts."""
        name = "checkov"
        if not self._has("checkov"):
            return not_run(name, "no checkov on the PATH; install it apart: pipx install checkov")
        command = ["checkov", "--directory", "infra", "--framework", "bicep", "--compact", "--quiet", "--skip-download"]
        done = self._run([*command, "--output", "json"])
        try:
            report = json.loads(done.stdout)
        except ValueError:
            return judged(name, [f"no report: {done.stderr.strip()[-300:]}"])
        return checkov_outcome(report)

    def cloud_init(self) -> Outcome:
        """The schema of cloud-init."""
        name = "cloud-init schema"
        if not self._has("cloud-init"):
            return not_run(name, "no cloud-init on the PATH")
        done = self._run(["cloud-init", "schema", "--config-file", "vm-gpu/cloud-init.yaml"])
        return judged(
            name,
            _lines(done) if done.returncode else (),
            done.stdout.strip().splitlines()[-1:][0] if done.stdout.strip() else "",
        )

    def systemd(self) -> Outcome:
        """The unit, verified as on a machine that has Docker: what it starts is not on this one."""
        name = "systemd-analyze verify"
        if not self._has("systemd-analyze"):
            return not_run(name, "no systemd-analyze on the PATH")
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder, "gpu-api.service")
            shutil.copy(self._root / "vm-gpu" / "gpu-api.service", unit)
            Path(folder, "docker.service").write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
            done = self._run(["systemd-analyze", "verify", "--man=no", str(unit)], SYSTEMD_UNIT_PATH=f"{folder}:")
        absent = re.compile(r"Command (/usr/local/sbin/gpu-api-|/usr/bin/docker)\S* is not executable")
        findings = [
            line for line in (done.stdout + done.stderr).splitlines() if "gpu-api" in line and not absent.search(line)
        ]
        return judged(name, findings)

    def hadolint(self) -> Outcome:
        """Every Dockerfile."""
        files = [str(path.relative_to(self._root)) for path in sorted(self._root.glob("*/Dockerfile*"))]
        if not self._has("hadolint"):
            return not_run("hadolint", "no hadolint on the PATH")
        if not files:
            return not_run("hadolint", "there is no Dockerfile")
        done = self._run(["hadolint", "--failure-threshold", "warning", *files])
        return judged("hadolint", _lines(done) if done.returncode else (), f"{len(files)} files")

    def actionlint(self) -> Outcome:
        """The workflows."""
        if not self._has("actionlint"):
            return not_run("actionlint", "no actionlint on the PATH; the infra workflow runs it")
        files = [str(path.relative_to(self._root)) for path in sorted(self._root.glob(".github/workflows/*.yml"))]
        done = self._run(["actionlint", *files])
        return judged("actionlint", _lines(done) if done.returncode else (), f"{len(files)} files")

    def azd_schema(self) -> Outcome:
        """azure.yaml against azd's own schema, where a copy or an address of it is given."""
        name = "azure.yaml against azd's schema"
        schema = self._environ.get("AZD_SCHEMA")
        if not schema:
            return not_run(name, "AZD_SCHEMA names no schema; the infra workflow gives it")
        if not self._has("check-jsonschema"):
            return not_run(name, "no check-jsonschema on the PATH")
        done = self._run(["check-jsonschema", "--schemafile", schema, "azure.yaml"])
        return judged(name, _lines(done) if done.returncode else ())

    def _has(self, program: str) -> bool:
        return shutil.which(program, path=self._environ.get("PATH")) is not None

    def _run(self, command: Sequence[str], **extra: str) -> "subprocess.CompletedProcess[str]":
        environ = {**self._environ, **extra}
        program = shutil.which(command[0], path=environ.get("PATH", os.defpath)) or command[0]
        return subprocess.run(  # noqa: S603 (the arguments are ours, and no shell reads them)
            [program, *command[1:]], cwd=self._root, env=environ, capture_output=True, text=True, check=False
        )


def checkov_outcome(report: object) -> Outcome:
    """What a report of checkov means. A report about nothing is a failure, not a success."""
    name = "checkov"
    if not isinstance(report, dict) or "summary" not in report:
        return judged(name, ["the report has no summary: nothing was scanned"])
    summary = report["summary"]
    failed = report.get("results", {}).get("failed_checks", [])
    findings = [
        f"{check['file_path']}: {check['resource']}: {check['check_id']} {check['check_name']}"
        for check in failed
        if check["check_id"] not in WAIVED
    ]
    if summary["parsing_errors"]:
        findings.append(f"{summary['parsing_errors']} files do not parse")
    if not summary["resource_count"]:
        findings.append("no resource was scanned")
    counts = f"{summary['passed']} passed, {len(failed)} waived or failed, {summary['resource_count']} resources"
    return judged(name, findings, f"{counts}, {summary['parsing_errors']} parsing errors")


def _lines(done: "subprocess.CompletedProcess[str]", pattern: str = "") -> list[str]:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and re.search(pattern, line)]
    return lines or [f"exit {done.returncode}"]
