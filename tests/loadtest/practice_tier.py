"""A real HTTP server that behaves as a tier does on the wire, with a service time and faults that a test chooses.

As a program it stands where `tiers` stands: `practice_tier.py serve TIER --port N`.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

POWER = {"threads": 2, "slots": 3, "cores": 6}
"""What it says of itself."""


@dataclass
class Behaviour:
    """How the practice tier answers."""

    service_s: float = 0.005
    slots: int = 64
    """Requests served at the same time; the others wait."""
    hosting: str = "cpu"
    status: int = 200
    prediction: bool = True
    wrong_every: int = 0
    """Every n-th answer is status 500."""
    ready: bool = True
    key: str = ""
    """A function key without which everything but health is 401."""
    served_s: list[tuple[float, float]] = field(default_factory=list)
    """Start of service (monotonic) and how long it took, of each request."""


class PracticeTier:
    """A practice tier on a free loopback port, for the length of a `with` block."""

    def __init__(self, behaviour: Behaviour, port: int = 0) -> None:
        self.behaviour = behaviour
        self._server = _Server(("127.0.0.1", port), _handler(behaviour))
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is no error of the server."""


def _handler(behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    slots = threading.Semaphore(behaviour.slots)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.path == "/v2/health/ready":
                self._reply(200 if behaviour.ready else 503, {})
            elif self.path == "/v2":
                self._reply(200, {"name": "practice", "hosting": behaviour.hosting, **POWER})
            else:
                self._reply(200, {"name": self.path.rpartition("/")[2], "variant": "n"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with slots:
                started = time.monotonic()
                time.sleep(behaviour.service_s)
                behaviour.served_s.append((started, time.monotonic() - started))
            wrong = behaviour.wrong_every and len(behaviour.served_s) % behaviour.wrong_every == 0
            self._reply(500 if wrong else behaviour.status, self._answer())

        def _answer(self) -> dict[str, object]:
            if not behaviour.prediction:
                return {"message": "hello"}
            infer_ms = behaviour.service_s * 1000
            found = "detections" if "image" in self.headers["Content-Type"] else "predictions"
            return {found: [], "timings_ms": {"decode": infer_ms * 0.25, "infer": infer_ms * 0.75}}

        def _reply(self, status: int, document: dict[str, object]) -> None:
            may_ask = self.path == "/v2/health/ready" or self.headers.get("x-functions-key", "") == behaviour.key
            body = json.dumps(document).encode()
            self.send_response(status if may_ask else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Silent."""

    return Handler


def _behaviour(tier: str, fault: str, delay_s: float, *, cpu_allowed: bool) -> Behaviour:
    if fault == f"{tier}-dies":
        sys.exit("practice tier: no model found in shared/models")
    if tier == "gpu" and not cpu_allowed:
        sys.exit("practice tier: CUDA was asked for and not obtained")
    if fault == f"{tier}-clings":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return Behaviour(
        service_s=0.005 + delay_s,
        hosting="cpu-stand-in" if tier == "gpu" else "cpu",
        ready=fault != f"{tier}-unready",
    )


def main(arguments: list[str]) -> None:
    """`serve TIER --port N` until terminated; PRACTICE_FAULT is `TIER-dies`, `TIER-clings` or `TIER-unready`."""
    _, tier, _, port = arguments
    behaviour = _behaviour(
        tier,
        os.environ.get("PRACTICE_FAULT", ""),
        float(os.environ.get("INFERENCE_FAULT_DELAY_S", "0")),
        cpu_allowed=os.environ.get("INFERENCE_ALLOW_CPU") == "1",
    )
    with PracticeTier(behaviour, int(port)):
        while True:
            signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
