"""What the driver says of the GPU, through `nvidia-smi`, which comes with it."""

import subprocess
from contextlib import suppress

TIMEOUT_S = 10.0


class Question:
    """Asks for the first GPU's values by the names of `nvidia-smi --help-query-gpu`. The answer, which takes a tenth
    of a second, comes while the caller goes on: a clock is read under load, not after it.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._process: subprocess.Popen[str] | None = None
        self._answer: dict[str, str] | None = None
        command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
        with suppress(OSError):  # no driver here
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603 - names are ours

    def values(self) -> dict[str, str]:
        """Name by name what was answered; empty where there is no GPU."""
        if self._answer is None:
            self._answer = dict(zip(self._names, self._line().split(", "), strict=False)) if self._process else {}
        return {name: value.strip() for name, value in self._answer.items() if value.strip()}

    def number(self, name: str) -> float | None:
        """One value that is a number; None where the driver does not say, or says `[N/A]`."""
        try:
            return float(self.values().get(name, ""))
        except ValueError:
            return None

    def _line(self) -> str:
        assert self._process is not None
        try:
            said, _ = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            said, _ = self._process.communicate()
        return next(iter(said.splitlines()), "") if self._process.returncode == 0 else ""
