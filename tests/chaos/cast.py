"""Who plays in the chaos run: one API process, several workers, each ended and started again at any moment."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from tests.entry import wait_until_ready
from tests.tiers import free_port


@dataclass
class Actor:
    """A process that is started again whenever it was killed. Its log goes on in one file."""

    arguments: list[str]
    environ: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin (again)."""
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments], env=self.environ, stdout=output, stderr=output
            )

    def end(self, number: int) -> None:
        """Send the signal and wait for the end."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(60)

    def restart(self, number: int = signal.SIGKILL) -> None:
        """Ended by the signal and started again."""
        with self.lock:
            self.end(number)
            self.start()

    def pause(self, over: threading.Event, seconds: float) -> None:
        """Stand still, in the middle of whatever it does; nobody kills it meanwhile."""
        with self.lock:
            assert self.process
            self.process.send_signal(signal.SIGSTOP)
            over.wait(seconds)
            self.process.send_signal(signal.SIGCONT)


class Cast:
    """The API process and the workers on one store."""

    def __init__(self, folder: Path, store: dict[str, str], models_dir: Path, *, workers: int, work_s: float) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("INFERENCE_")}
        common = inherited | store | {"INFERENCE_MODELS_DIR": str(models_dir), "INFERENCE_THREADS": "1"}
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.api = Actor(
            ["image_api.main", "--port", str(port)], common | {"INFERENCE_JOBS_WORKERS": "0"}, folder / "api.log"
        )
        slow = common | {"INFERENCE_FAULT_DELAY_S": str(work_s)}
        self.workers = [Actor(["image_api.worker"], slow, folder / f"worker-{number}.log") for number in range(workers)]

    def __enter__(self) -> Self:
        for actor in (self.api, *self.workers):
            actor.start()
        self.wait_for_api()
        return self

    def __exit__(self, *_: object) -> None:
        for actor in (self.api, *self.workers):
            if actor.process:
                actor.process.send_signal(signal.SIGCONT)
                actor.end(signal.SIGKILL)

    def wait_for_api(self) -> None:
        """Until it answers."""
        assert self.api.process
        with httpx.Client(base_url=self.url) as client:
            wait_until_ready(client, self.api.process, self.api.log)
