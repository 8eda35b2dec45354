"""Tells a client's server that a job is finished: signed, tried again when it fails, never sent into the own network.

Signed as Standard Webhooks has it (headers `webhook-id`, `webhook-timestamp`, `webhook-signature`; HMAC-SHA256 over
`id.timestamp.body`), which has verifying libraries in most languages.
"""

import base64
import hmac
import http.client
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson

from inference_jobs.errors import WebhookRefused
from inference_jobs.job import Job
from inference_jobs.jobs import WEBHOOKS, Jobs
from inference_jobs.settings import JobSettings

_LOG = logging.getLogger("inference.jobs")
_TIMEOUT_S = 10
_LEASE_S = 60
TRIES_MAX = 8
"""With the doubled delays, about twenty minutes."""
_FIRST_DELAY_S = 10
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: Address) -> bool:
    """Whether `address` is on the open internet: not loopback, private, link-local (where clouds keep their machines'
    credentials), multicast or reserved, nor one of those inside an IPv6 address.
    """
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.is_global and not address.is_multicast and (inner is None or is_public(inner))


def check_webhook(url: str, settings: JobSettings) -> None:
    """Raise WebhookRefused for a URL that is not https on the usual port of an allowed host."""
    parts = _split(url)
    if parts.scheme != "https" or parts.username or parts.password or parts.port not in (None, 443):
        raise WebhookRefused("A webhook is https://host/…, without a port or credentials.")
    if (parts.hostname or "") not in {host.lower() for host in settings.jobs_webhook_hosts}:
        allowed = ", ".join(settings.jobs_webhook_hosts) or "none"
        raise WebhookRefused(f"Webhooks may not go to {parts.hostname!r}; hosts allowed here: {allowed}.")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise WebhookRefused("The webhook is no URL.") from None
    if any(not 33 <= ord(letter) <= 126 for letter in url):
        raise WebhookRefused("The webhook is no URL: it holds a space or a letter beyond ASCII.")
    return parts


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()


@dataclass(frozen=True)
class Caller:
    """Makes one call. `may_call` decides about each address that the host's name leads to."""

    secret: str
    may_call: Callable[[Address], bool] = is_public
    context: ssl.SSLContext | None = None

    def call(self, url: str, message_id: str, body: bytes) -> int:
        """The status of the reply to `body`, POSTed to `url`. Redirects are not followed.

        Raises OSError and http.client.HTTPException when there is no reply, WebhookRefused for an address that may not
        be called.
        """
        parts = _split(url)
        host, port = parts.hostname or "", parts.port or 443
        now = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self.secret, message_id, now, body),
        }
        connection = _Pinned(host, port, self._address(host, port), self.context or ssl.create_default_context())
        try:
            connection.request("POST", parts._replace(scheme="", netloc="").geturl() or "/", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def _address(self, host: str, port: int) -> str:
        """The address to connect to; the name is not looked up again after it was judged."""
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for address in found:
            if not self.may_call(ipaddress.ip_address(address.partition("%")[0])):
                raise WebhookRefused(f"{host} leads to {address}, which is not on the open internet.")
        return found[0]


class _Pinned(http.client.HTTPSConnection):
    """A connection to one address, with the certificate that the host's name asks for."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=_TIMEOUT_S, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        """Connect without asking for the name's address again."""
        plain = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class Webhooks:
    """Works off the queue of calls to make."""

    def __init__(self, jobs: Jobs, caller: Caller) -> None:
        self._jobs, self._caller = jobs, caller

    def deliver(self) -> int:
        """Make the calls that are due; how many were tried."""
        tried = 0
        while message := self._jobs.store.receive(WEBHOOKS, lease_s=_LEASE_S):
            call = orjson.loads(message.data)
            job = self._jobs.read(call["job"])
            if job and job.finished and not self._is_told(job):
                self._again_later(call)
            self._jobs.store.acknowledge(message)
            tried += 1
        return tried

    def _is_told(self, job: Job) -> bool:
        """Whether there is nothing left to do: it was told, or never can be."""
        try:
            status = self._caller.call(job.webhook, job.id, orjson.dumps(job.document()))
        except WebhookRefused as refusal:
            _LOG.error("job=%s webhook: %s", job.id, refusal)
            return True
        except (OSError, http.client.HTTPException, ValueError) as error:
            _LOG.warning("job=%s webhook: %r", job.id, error)
            return False
        _LOG.info("job=%s webhook answered %d", job.id, status)
        return 200 <= status < 300

    def _again_later(self, call: dict[str, Any]) -> None:
        """Put the call back, with its delay doubled. A new message: a lease is no delay for so long."""
        tries = call["tries"] + 1
        if tries >= TRIES_MAX:
            _LOG.error("job=%s webhook given up after %d tries", call["job"], tries)
            return
        body = orjson.dumps(call | {"tries": tries})
        self._jobs.store.send(WEBHOOKS, body, delay_s=_FIRST_DELAY_S * 2 ** (tries - 1))
