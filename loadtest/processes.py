"""Start the tiers on loopback, wait until each is ready, and leave none behind.

Every process leads a session of its own: a Ctrl-C in the terminal reaches the trial alone, which then ends each whole
group (a server and whatever it started) in order.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from loadtest.tier_facts import fetch

LOOPBACK = "127.0.0.1"
POLL_S = 0.1
GRACE_S = 5.0
"""How long a process may take to end by itself."""
LOG_LINES = 15
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class TrialError(RuntimeError):
    """The trial cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Running:
    """A process that was started, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> str:
        """The end of its log, indented."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (nothing was written)"


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Hold interrupts back: one that came between fork and bookkeeping would leave a process that nobody knows."""
    pending: list[int] = []
    former = {number: signal.signal(number, lambda number, _: pending.append(number)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if pending:
        raise KeyboardInterrupt


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Signal handler: end the trial as Ctrl-C does."""
    raise KeyboardInterrupt


def require_free_port(port: int, tier: str, remedy: str) -> None:
    """Raise TrialError naming the port and the remedy where something listens already."""
    with socket.socket() as probe:
        # As servers do: a port that only waits out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            message = f"Port {port} for the {tier} tier cannot be used ({error.strerror}). {remedy}"
            raise TrialError(message) from error


class Processes:
    """The processes that were started; leaving the `with` block ends every one of them."""

    def __init__(self) -> None:
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], log: Path, environ: Mapping[str, str]) -> Running:
        """Start a process that writes into `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with deferred_interrupts(), log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                start_new_session=True,
            )
            running = Running(name, process, log)
            self._started.append(running)
        return running

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End every process group: asked first, then killed. Interrupts wait until none is left."""
        with deferred_interrupts():
            for running in self._started:
                _signal_group(running, signal.SIGTERM)
            deadline = time.monotonic() + grace_s
            for running in self._started:
                _wait(running.process, max(deadline - time.monotonic(), 0))
                _signal_group(running, signal.SIGKILL)
                running.process.wait()
            self._started.clear()


def wait_until_ready(tier: Running, host: str, timeout_s: float) -> None:
    """Return when the tier answers ready. Raises TrialError with its last lines when it ends or takes too long."""
    deadline = time.monotonic() + timeout_s
    while not is_ready(host):
        if (status := tier.process.poll()) is not None:
            raise TrialError(f"The {tier.name} tier ended with status {status} at its start:\n{tier.last_lines()}")
        if time.monotonic() > deadline:
            raise TrialError(f"The {tier.name} tier was not ready after {timeout_s:g} s:\n{tier.last_lines()}")
        time.sleep(POLL_S)


def is_ready(host: str, timeout_s: float = 1.0) -> bool:
    """Whether the tier at `host` (a URL without path) says that it is ready. It asks nobody for a key there."""
    try:
        fetch(f"{host}/v2/health/ready", timeout_s)
    except OSError:  # refused, timed out, or a status that is not 2xx
        return False
    return True


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return


def _signal_group(running: Running, number: signal.Signals) -> None:
    """Signal the group that the process leads; its members may outlive their leader."""
    try:
        os.killpg(running.process.pid, number)
    except ProcessLookupError:
        return
