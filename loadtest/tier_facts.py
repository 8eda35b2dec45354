"""What a tier says of itself before it is loaded: on what it computes, with what power, which variant it serves."""

import json
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from tier_planner.records import DEVICES

TIMEOUT_S = 10.0
KEY_HEADERS = ("x-functions-key", "x-api-key")
"""Where a key is looked for: by the Functions host, and by the other tiers. A tier reads one and ignores the other."""


class TierError(RuntimeError):
    """The tier cannot be asked, or does not say what it must; the message says which."""


@dataclass(frozen=True)
class TierFacts:
    """A tier's own word."""

    device: str
    """cpu, cuda, or cpu-stand-in: a CPU in a GPU's place."""
    threads: int | None
    """Of one run. These are None where the tier does not say them."""
    variant: str
    slots: int | None = None
    """Answers that it computes at once."""
    cores: int | None = None


def key_headers(key: str) -> dict[str, str]:
    """What a caller with `key` sends besides; nothing where none is asked for."""
    return dict.fromkeys(KEY_HEADERS, key) if key else {}


def ask_tier(host: str, model: str, key: str = "") -> TierFacts:
    """Ask the tier at `host` (a URL without path). Raises TierError."""
    server = _document(f"{host}/v2", key)
    device = server.get("hosting")
    if device not in DEVICES:
        raise TierError(f"{host}/v2 says hosting = {device!r}: must be one of {', '.join(DEVICES)}")
    variant = _document(f"{host}/v1/models/{quote(model)}", key).get("variant")
    threads, slots, cores = (_count(server.get(name)) for name in ("threads", "slots", "cores"))
    return TierFacts(str(device), threads, str(variant or ""), slots, cores)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def fetch(url: str, timeout_s: float, key: str = "") -> bytes:
    """The body of a 2xx reply, asked for as the load itself asks: without a proxy. Raises OSError."""
    request = Request(url, headers=key_headers(key))  # noqa: S310 - callers have checked or made the URL
    with build_opener(ProxyHandler({})).open(request, timeout=timeout_s) as reply:
        body: bytes = reply.read()
        return body


def _document(url: str, key: str) -> dict[str, object]:
    if not url.startswith(("http://", "https://")):
        raise TierError(f"{url}: the host must start with http:// or https://")
    try:
        document = json.loads(fetch(url, TIMEOUT_S, key))
    except HTTPError as error:
        hint = " (the environment variable LOADTEST_KEY holds the key to send)" if error.code in (401, 403) else ""
        raise TierError(f"{url} answered {error.code}{hint}: {error.read(300).decode(errors='replace')}") from error
    except OSError as error:
        raise TierError(f"Nothing answers at {url}: {getattr(error, 'reason', error)}") from error
    except ValueError as error:
        raise TierError(f"{url} answered no JSON: {error}") from error
    if not isinstance(document, dict):
        raise TierError(f"{url} answered {type(document).__name__}, not a JSON object")
    return document
