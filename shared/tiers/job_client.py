"""A client of `/v1/jobs`, on the standard library."""

import json
import time
import urllib.error
import urllib.request
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

_TIMEOUT_S = 120
_BUSY = {429, 502, 503, 504, 507}
_PATIENCE_S = 600
_WAIT_S = 2


class ServiceError(Exception):
    """The service cannot be reached, or refuses. `code` is its own word for why."""

    def __init__(self, detail: str, *, code: str = "unreachable", status: int = 0) -> None:
        super().__init__(detail)
        self.code = code
        self.is_refusal = status in (413, 415, 422)
        """It is this picture that is refused; the next may be taken."""


class JobClient:
    """Talks to the service at `url`."""

    def __init__(self, url: str, *, key: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def submit(self, model: str, body: bytes, *, scale: float, key: str) -> str:
        """The id of the job for `body`; the same `key` gives the same job, unless that came to nothing. Waits where the
        service has no room.
        """
        query = urlencode({"model": model, "scale": scale})
        headers = {"idempotency-key": key, "content-type": "application/octet-stream"}
        job: dict[str, str] = json.loads(self._patiently("POST", f"/v1/jobs?{query}", body, headers))
        if job["status"] in ("failed", "cancelled", "expired"):
            return self.submit(model, body, scale=scale, key=sha256(f"{key} {job['id']}".encode()).hexdigest())
        return job["id"]

    def job(self, name: str) -> dict[str, Any]:
        """The job's document."""
        document: dict[str, Any] = json.loads(self._patiently("GET", f"/v1/jobs/{name}"))
        return document

    def jobs(self) -> list[dict[str, Any]]:
        """The newest jobs."""
        documents: list[dict[str, Any]] = json.loads(self._patiently("GET", "/v1/jobs"))["jobs"]
        return documents

    def result(self, name: str) -> bytes:
        """The reply that the job was for."""
        return self._patiently("GET", f"/v1/jobs/{name}/result")

    def cancel(self, name: str) -> dict[str, Any]:
        """Cancel the job; its document."""
        document: dict[str, Any] = json.loads(self._patiently("DELETE", f"/v1/jobs/{name}"))
        return document

    def _patiently(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        """The reply's body; asked again while the service is busy, full or restarting. Raises ServiceError."""
        give_up_at = time.monotonic() + _PATIENCE_S
        while True:
            request = urllib.request.Request(  # noqa: S310
                self._url + path, body, self._headers | (headers or {}), method=method
            )
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310
                    return bytes(reply.read())
            except urllib.error.HTTPError as error:
                if error.code not in _BUSY or time.monotonic() > give_up_at:
                    raise _said(error) from None
                wait_s = error.headers.get("retry-after", "")
                error.close()
                time.sleep(min(int(wait_s), _WAIT_S) if wait_s.isdigit() else _WAIT_S)
            except OSError as error:
                raise ServiceError(f"{self._url} cannot be reached: {error}. Is the service running?") from None


def _said(error: urllib.error.HTTPError) -> ServiceError:
    """What the service said in its problem document."""
    with error:
        try:
            problem = json.loads(error.read())
            return ServiceError(problem["detail"], code=problem["code"], status=error.code)
        except (ValueError, KeyError, TypeError):
            return ServiceError(f"the service answered {error.code}", status=error.code)
