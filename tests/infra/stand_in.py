"""Stand-ins for `az`, `azd`, `docker` and `curl` on the PATH.

Each call is recorded, its arguments are checked against what the real program takes, and the reply comes from rules
that a test writes. A call with arguments that the real program would refuse exits with 2, as that would.
"""

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAMMAR: dict[str, dict[str, set[str]]] = {
    "az": {
        "version": {"--output"},
        "account show": {"--query", "--output"},
        "provider show": {"--namespace", "--query", "--output"},
        "group show": {"--name", "--output"},
        "group exists": {"--name"},
        "functionapp list-flexconsumption-locations": {"--query", "--output"},
        "functionapp keys list": {"--resource-group", "--name", "--query", "--output"},
        "vm list-skus": {"--location", "--size", "--resource-type", "--output"},
        "vm list-usage": {"--location", "--output"},
        "vm list": {"--resource-group", "--query", "--output"},
        "vm run-command invoke": {"--resource-group", "--name", "--command-id", "--scripts"},
        "containerapp env workload-profile list-supported": {"--location", "--query", "--output"},
        "acr login": {"--name"},
        "acr repository show": {"--name", "--image", "--query", "--output"},
    },
    "azd": {
        "version": set(),
        "auth login": {"--check-status", "--output"},
        "env new": {"--location", "--subscription", "--no-prompt"},
        "env set": {"--environment"},
        "env get-values": {"--environment", "--output"},
        "provision": {"--no-prompt", "--environment", "--preview"},
        "deploy": {"--no-prompt", "--environment"},
        "down": {"--force", "--purge", "--no-prompt", "--environment"},
    },
    "docker": {
        "build": {"--platform", "--file", "--tag"},
        "push": set(),
        "": {"--version"},
    },
    "curl": {
        "": {"--fail", "--silent", "--show-error", "--retry", "--retry-delay", "--retry-all-errors", "--max-time"}
    },
}
"""Subcommands and their options, as in az 2.60 and azd 1.11."""

VERSIONS = {
    "az version": '{"azure-cli": "2.77.0"}',
    "azd version": "azd version 1.20.0 (commit 0)",
    "docker --version": "Docker version 28.0.1",
}
HEALTHY: dict[str, tuple[int, str]] = {
    **{call: (0, reply) for call, reply in VERSIONS.items()},
    "az account show --output": (0, '{"id": "1", "name": "mine"}'),
    "az account show --query": (0, "1"),
    "azd auth login": (0, '{"status": "success"}'),
    "az acr repository show": (0, "sha256:12ab"),
    "az provider show": (0, "Registered"),
    "az group show": (3, "ResourceGroupNotFound"),
    "az group exists": (0, "false"),
    "az functionapp list-flexconsumption-locations": (0, '["eastus", "swedencentral"]'),
    "az functionapp keys list": (0, "s3cret"),
    "az vm list-usage": (0, '[{"name": {"value": "standardNCASv3_T4Family"}, "limit": "8", "currentValue": 0}]'),
    "az vm list-skus": (
        0,
        json.dumps(
            [
                {
                    "name": "Standard_NC4as_T4_v3",
                    "family": "StandardNCASv3_T4Family",
                    "restrictions": [],
                    "capabilities": [{"name": "vCPUs", "value": "4"}],
                }
            ]
        ),
    ),
    "az vm list ": (0, "gpu_1\ngpu_2"),
    "az containerapp env workload-profile list-supported": (0, '["Consumption", "Consumption-GPU-NC8as-T4"]'),
    "azd env get-values": (1, "ERROR: environment does not exist"),
}
"""A subscription in which everything is in order, and no environment yet."""


@dataclass(frozen=True)
class Cloud:
    """The stand-ins of one test."""

    folder: Path

    def rule(self, call: str, status: int, reply: str) -> None:
        """Answer calls that begin with `call` so from now on; the longest that fits counts."""
        rules = self._rules()
        rules[call] = (status, reply)
        (self.folder / "rules.json").write_text(json.dumps(rules))

    def knows(self, **values: str) -> None:
        """What azd's environment holds from now on."""
        self.rule("azd env get-values", 0, json.dumps(values))

    def calls(self, *, changing: bool = False) -> list[str]:
        """What was called; `changing`: only what changes something."""
        log = self.folder / "calls.jsonl"
        called = [" ".join(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
        asks = ("version", "show", "get-values", "list", "exists", "--check-status", "--version", "curl")
        return [call for call in called if not (changing and any(word in call for word in asks))]

    def forget(self) -> None:
        """Start the record anew."""
        (self.folder / "calls.jsonl").unlink(missing_ok=True)

    def _rules(self) -> dict[str, Any]:
        rules: dict[str, Any] = json.loads((self.folder / "rules.json").read_text())
        return rules


def make_cloud(folder: Path) -> Cloud:
    """Put the stand-ins into `folder`, everything in order."""
    folder.mkdir()
    (folder / "rules.json").write_text(json.dumps(HEALTHY))
    for program in GRAMMAR:
        script = folder / program
        be = f"import runpy, sys\nsys.exit(runpy.run_path({__file__!r})['main'](sys.argv))\n"
        script.write_text(f"#!{sys.executable} -IS\n{be}")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return Cloud(folder)


def main(arguments: list[str]) -> int:
    """Be the program that `arguments[0]` names."""
    program, given = Path(arguments[0]), arguments[1:]
    with (program.parent / "calls.jsonl").open("a") as log:
        log.write(json.dumps([program.name, *given]) + "\n")
    if complaint := refused(program.name, given):
        sys.stderr.write(f"unrecognized arguments: {complaint}\n")
        return 2
    line = " ".join([program.name, *given])
    rules = json.loads((program.parent / "rules.json").read_text())
    fitting = max((call for call in rules if line.startswith(call)), key=len, default=None)
    status, reply = rules[fitting] if fitting else (0, "")
    (sys.stderr if status else sys.stdout).write(reply + os.linesep)
    return int(status)


def refused(program: str, given: list[str]) -> str:
    """What the real program would not take; empty where it would."""
    words = [word for word in given if not word.startswith("-")]
    known = GRAMMAR[program]
    fitting = [call for call in known if words[: len(call.split())] == call.split()]
    if not fitting:
        return " ".join(given)
    options = known[max(fitting, key=len)]
    return " ".join(word for word in given if word.startswith("--") and word not in options)
