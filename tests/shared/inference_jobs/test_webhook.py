"""Webhooks: where they may go, how they are signed, what happens when nobody listens."""

import base64
import hmac
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from inference_jobs.errors import WebhookRefused
from inference_jobs.jobs import WEBHOOKS, Jobs
from inference_jobs.settings import JobSettings
from inference_jobs.webhook import Caller, Webhooks, check_webhook, is_public

from tests.shared.inference_jobs.azurite import certificate_in
from tests.shared.inference_jobs.services import jobs_in, submitted
from tests.shared.inference_jobs.stores import sqlite_store

SECRET = "a secret of at least 24 characters"  # noqa: S105
ALLOWED = JobSettings(jobs_webhook_hosts=("hooks.example.com",), jobs_webhook_secret=SECRET)
Received = tuple[dict[str, str], bytes]


@contextmanager
def receiver(folder: Path, *statuses: int) -> Iterator[tuple[str, ssl.SSLContext, list[Received]]]:
    """An https server on loopback that answers with `statuses` in turn: its URL, how to trust it, what it received."""
    received: list[Received] = []
    answers = list(statuses)

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(answers.pop(0))
            self.send_header("location", "https://127.0.0.1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    certificate, key = certificate_in(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            trust = ssl.create_default_context(cafile=str(certificate))
            yield f"https://127.0.0.1:{server.server_address[1]}/done?from=us", trust, received
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with sqlite_store(tmp_path / "store") as store:
        yield jobs_in(store)


def cancelled(jobs: Jobs, webhook: str) -> str:
    """A finished job that wants its webhook called."""
    name = submitted(jobs, webhook=webhook)
    jobs.cancel(name)
    return name


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/",
        "https://hooks.example.com.evil.example/",
        "https://evil@hooks.example.com/",
        "https://hooks.example.com:8443/",
        "http://hooks.example.com/",
        "https://169.254.169.254/metadata",
        "https://[::1]/",
        "https://hooks.example.com:port/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nx: y",
        "file:///etc/passwd",
        "",
    ],
)
def test_only_https_urls_of_allowed_hosts_are_taken(url: str) -> None:
    with pytest.raises(WebhookRefused):
        check_webhook(url, ALLOWED)


def test_an_allowed_host_is_taken_in_any_case_of_letters() -> None:
    check_webhook("https://Hooks.Example.com/path?query=1", ALLOWED)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.1.2.3", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        "64:ff9b::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::",
    ],
)  # fmt: skip
def test_private_addresses_are_never_called_however_they_are_written(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["20.50.2.1", "2603:1020::1"])
def test_public_addresses_may_be_called(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_a_name_that_leads_into_the_own_network_is_refused_when_it_is_looked_up() -> None:
    with pytest.raises(WebhookRefused, match="localhost leads to"):
        Caller(SECRET).call("https://localhost/", "job", b"{}")


def test_the_call_carries_the_job_and_a_signature_that_any_standard_library_checks(jobs: Jobs, tmp_path: Path) -> None:
    with receiver(tmp_path, 200) as (url, trust, received):
        name = cancelled(jobs, url)
        assert Webhooks(jobs, Caller(SECRET, lambda _: True, trust)).deliver() == 1
    ((headers, body),) = received
    assert json.loads(body)["id"] == headers["webhook-id"] == name
    assert json.loads(body)["status"] == "cancelled"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{name}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET.encode(), signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert jobs.store.length(WEBHOOKS) == 0


@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_call_that_fails_is_made_again_later_and_redirects_are_not_followed(
    jobs: Jobs, tmp_path: Path, status: int
) -> None:
    with receiver(tmp_path, status) as (url, trust, received):
        cancelled(jobs, url)
        webhooks = Webhooks(jobs, Caller(SECRET, lambda _: True, trust))
        assert webhooks.deliver() == 1
        assert webhooks.deliver() == 0
    assert len(received) == 1
    assert jobs.store.length(WEBHOOKS) == 1


def test_a_server_that_is_not_trusted_or_not_there_gets_nothing(jobs: Jobs, tmp_path: Path) -> None:
    with receiver(tmp_path, 200) as (url, _, received):
        cancelled(jobs, url)
        Webhooks(jobs, Caller(SECRET, lambda _: True)).deliver()
    assert received == []
    assert jobs.store.length(WEBHOOKS) == 1


def test_an_address_that_may_never_be_called_is_given_up_at_once(jobs: Jobs) -> None:
    cancelled(jobs, "https://localhost/")
    Webhooks(jobs, Caller(SECRET)).deliver()
    assert jobs.store.length(WEBHOOKS) == 0
