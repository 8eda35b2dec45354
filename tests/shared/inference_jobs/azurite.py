"""Azurite, Microsoft's emulator of Azure Storage, as a process of its own on free loopback ports."""

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from tests.conftest import PROJECT
from tests.tiers import free_port

VERSION = "3.35.0"
FOLDER = PROJECT / "build" / "azurite"
COMMAND = FOLDER / "node_modules" / ".bin" / "azurite"
_KEY = base64.b64encode(b"a key for tests on loopback only").decode()
_ACCOUNTS = 200
_START_S = 60
_NUMBERS = count()


def missing() -> str:
    """Why Azurite cannot run here, empty when it can. Installs it (`make azurite`) where npm is there."""
    if not shutil.which("node"):
        return "Azurite needs Node, which is not here"
    if not COMMAND.exists():
        if not shutil.which("npm"):
            return "Azurite is not installed and npm is not here"
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [
            "npm",
            "install",
            "--silent",
            "--no-fund",
            "--no-audit",
            "--prefix",
            str(FOLDER),
            f"azurite@{VERSION}",
        ]
        ended = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=300)
        if ended.returncode:
            return f"npm cannot install Azurite: {ended.stderr[-200:]}"
    return ""


@dataclass(frozen=True)
class Azurite:
    """A running emulator. Every account is an empty store."""

    scheme: str
    blob_port: int
    queue_port: int
    process: "subprocess.Popen[bytes]"

    def account(self) -> str:
        """The name of an account that nobody has used yet."""
        return f"jobs{next(_NUMBERS) % _ACCOUNTS}"

    def blob_url(self, account: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.blob_port}/{account}"

    def queue_url(self, account: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.queue_port}/{account}"

    def connection(self, account: str) -> str:
        """A connection string."""
        return (
            f"DefaultEndpointsProtocol={self.scheme};AccountName={account};AccountKey={_KEY};"
            f"BlobEndpoint={self.blob_url(account)};QueueEndpoint={self.queue_url(account)};"
        )


@contextmanager
def azurite(folder: Path, *, certificate: tuple[Path, Path] | None = None) -> Iterator[Azurite]:
    """Azurite, ready; with a `certificate` (and its key) over https, where only tokens of an identity are taken."""
    folder.mkdir(parents=True, exist_ok=True)
    blob, queue, table = free_port(), free_port(), free_port()
    command = [str(COMMAND), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table)]
    if certificate:
        command += ["--oauth", "basic", "--cert", str(certificate[0]), "--key", str(certificate[1])]
    accounts = ";".join(f"jobs{number}:{_KEY}" for number in range(_ACCOUNTS))
    environ = os.environ | {"AZURITE_ACCOUNTS": accounts}
    with (
        (folder / "azurite.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            for port in (blob, queue):
                _wait_for(port, process, folder / "azurite.log")
            yield Azurite("https" if certificate else "http", blob, queue, process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Azurite did not start:\n{log.read_text()}")


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def identity_endpoint() -> Iterator[tuple[dict[str, str], list[str]]]:
    """What a container's identity looks like from inside: the variables that the platform sets, and an endpoint that
    gives tokens (unsigned: Azurite looks at audience, issuer and times). Second: what was asked of it.
    """
    asked: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            allowed = self.headers.get("X-IDENTITY-HEADER") == "a secret of the platform"
            body = json.dumps(_token_reply()).encode() if allowed else b"{}"
            self.send_response(200 if allowed else 403)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/token"
            yield {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": "a secret of the platform"}, asked
        finally:
            server.shutdown()
            thread.join()


def _token_reply() -> dict[str, str]:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
        "oid": "23657296-5cd5-45b0-a809-d972a7f4dfe1",
        "tid": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
    }
    parts = [{"alg": "RS256", "typ": "JWT"}, claims]
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return {
        "access_token": token + ".c2lnbmF0dXJl",
        "expires_on": str(now + 3600),
        "resource": "https://storage.azure.com",
        "token_type": "Bearer",
    }
