"""Requests that no HTTP client would send: bytes on a socket, at a pace of our own."""

import json
import socket
from dataclasses import dataclass
from typing import Any

import httpx

WAIT_S = 20


@dataclass(frozen=True)
class Reply:
    """What came back on a raw connection that the server then closed, or that was read for one reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, an object."""
        document: dict[str, Any] = json.loads(self.body)
        return document


def connected(client: httpx.Client) -> socket.socket:
    """A raw connection to the server of `client`."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), WAIT_S)


def read_reply(peer: socket.socket) -> Reply:
    """One reply, by its Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(peer)
    head, body = received.split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += _some(peer)
    return Reply(int(first.split()[1]), headers, body)


def is_closed(peer: socket.socket) -> bool:
    """Whether the server ends the connection, within the time of a test."""
    try:
        return peer.recv(1) == b""
    except ConnectionError:
        return True


def _some(peer: socket.socket) -> bytes:
    if not (data := peer.recv(65536)):
        raise ConnectionError("the server closed before its reply was whole")
    return data
