"""What was measured so far, a line a finding, so that a measurement that broke off can be taken up again."""

import json
from pathlib import Path
from typing import Any

from tier_measure.errors import MeasureError

Finding = dict[str, Any]


class Journal:
    """A file of JSON lines: first what is being measured, then one finding a line."""

    def __init__(self, path: Path, subject: dict[str, Any]) -> None:
        self.path = path
        self._subject = json.loads(json.dumps(subject))  # as it will be read back
        self.findings: list[Finding] = []

    def start(self) -> None:
        """Begin anew; what was in the file is gone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self._subject) + "\n", encoding="utf-8")

    def resume(self) -> None:
        """Take up what is in the file. Raises MeasureError when there is none, or it measured something else."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        except OSError:
            raise MeasureError(f"{self.path} is not there: nothing to resume. Leave out --resume.") from None
        # A line without its end was being written when the measurement broke off.
        whole = [line for line in lines if line.endswith("\n")]
        try:
            subject, *self.findings = [json.loads(line) for line in whole]
        except ValueError:
            raise MeasureError(f"{self.path} is damaged; leave out --resume to begin anew.") from None
        if subject != self._subject:
            keys = sorted(key for key in {*subject, *self._subject} if subject.get(key) != self._subject.get(key))
            raise MeasureError(
                f"{self.path} measured something else (other {', '.join(keys)}); leave out --resume to begin anew."
            )
        self.path.write_text("".join(whole), encoding="utf-8")

    def add(self, **finding: Any) -> None:
        """One more finding, at once on disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finding) + "\n")
        self.findings.append(finding)

    def find(self, **wanted: Any) -> list[Finding]:
        """The findings that have these values."""
        return [finding for finding in self.findings if all(finding.get(key) == value for key, value in wanted.items())]

    def remove(self) -> None:
        """The record is written: the file has done its work."""
        self.path.unlink(missing_ok=True)
