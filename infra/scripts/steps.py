"""Running commands one after the other: each step has a name, and one that fails says what mends it."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TAIL_LINES = 40
# What the platform says, and the command that mends it. The first that fits is shown.
KNOWN_CAUSES = (
    (
        r"namespace '?(Microsoft\.\w+)'?.*not registered|not registered to use namespace '(Microsoft\.\w+)'",
        "az provider register --namespace {} --wait",
    ),
    (r"AADSTS|az login|not logged in|azd auth login", "az login && azd auth login"),
    (r"SubscriptionNotFound|subscription .* (?:doesn't|does not) exist", "az account list --output table"),
    (
        r"QuotaExceeded|exceeding approved .* quota",
        "python -m infra preflight   # names the quota and how to ask for more",
    ),
    (r"Cannot connect to the Docker daemon", "docker info   # start Docker, then check with this"),
    (
        r"AuthorizationFailed|does not have authorization",
        "az role assignment list --assignee @me --output table   # Contributor and the right to give roles are needed",
    ),
    (
        r"PublicNetworkAccess|public network access.*disabled",
        "python -m infra deploy ...   # private mode: from a machine inside the virtual network",
    ),
)


class StepError(RuntimeError):
    """A step failed; the message names it and says how to mend it."""


class UsageError(ValueError):
    """The command line asks for what cannot be."""


def say(text: str = "") -> None:
    """One line to whoever reads along."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass
class Runner:
    """Runs steps in order. Dry: prints every command and runs none."""

    variables: Mapping[str, str]
    again: str
    """The command line that got us here, to say how to resume."""
    root: Path
    """The repository: azd looks for azure.yaml where it is run, docker for what it builds."""
    dry: bool = False
    start: str = ""
    """Name of the first step that is to be run; empty: all of them."""
    _reached: bool = field(default=False, init=False)

    def step(self, name: str, command: Sequence[str], mend: str) -> None:
        """Run one command, showing what it writes. Raises StepError."""
        if not self._is_due(name):
            say(f"  {name}: skipped")
            return
        say(f"  {name}: {shlex.join(command)}")
        if self.dry:
            return
        status, tail = self._run(command)
        if status:
            raise StepError(
                f"step '{name}' failed (exit {status}): {shlex.join(command)}\n"
                f"  mend:   {_known_cause(tail) or mend}\n"
                f"  resume: {self.again} --from {name}"
            )

    def stream(self, name: str, command: Sequence[str]) -> int:
        """Run one command whose exit status is an answer, not a failure; 0 when dry."""
        say(f"  {name}: {shlex.join(command)}")
        return 0 if self.dry else self._run(command)[0]

    def ask(self, command: Sequence[str], unknown: str = "") -> str:
        """What a command that changes nothing writes. Dry: `unknown`, and the command is printed. Raises StepError."""
        if self.dry:
            say(f"  ask: {shlex.join(command)}")
            return unknown
        done = self.query(command)
        if done.returncode:
            raise StepError(
                f"cannot ask: {shlex.join(command)}\n  {done.stderr.strip()[-500:]}\n"
                f"  mend:   {_known_cause(done.stderr) or 'az login && azd auth login'}"
            )
        return done.stdout.strip()

    def query(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a command that changes nothing and hand back how it went; 127 where there is no such program."""
        if self.dry:
            say(f"  ask: {shlex.join(command)}")
            return subprocess.CompletedProcess(list(command), 125, "", "not asked in a dry run")
        program = shutil.which(command[0], path=self.variables.get("PATH"))
        if program is None:
            return subprocess.CompletedProcess(list(command), 127, "", f"{command[0]} is not installed")
        return subprocess.run(  # noqa: S603 (the arguments are ours, and no shell reads them)
            [program, *command[1:]],
            cwd=self.root,
            env=dict(self.variables),
            capture_output=True,
            text=True,
            check=False,
        )

    def finish(self) -> None:
        """Refuse a `--from` that named no step. Raises UsageError."""
        if self.start and not self._reached:
            raise UsageError(f"--from {self.start}: there is no such step; the list above names them")

    def _is_due(self, name: str) -> bool:
        self._reached = self._reached or name == self.start
        return not self.start or self._reached

    def _run(self, command: Sequence[str]) -> tuple[int, str]:
        program = shutil.which(command[0], path=self.variables.get("PATH"))
        if program is None:
            return 127, f"{command[0]} is not installed"
        tail: list[str] = []
        process = subprocess.Popen(  # noqa: S603
            [program, *command[1:]],
            cwd=self.root,
            env=dict(self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                say(f"    {line.rstrip()}")
                tail = [*tail[-TAIL_LINES:], line]
        return process.returncode, "".join(tail)


def _known_cause(output: str) -> str | None:
    for pattern, mend in KNOWN_CAUSES:
        if found := re.search(pattern, output, re.IGNORECASE):
            return mend.format(*(group for group in found.groups() if group))
    return None
