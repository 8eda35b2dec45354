"""What can go wrong, each with a stable code, a plain status integer and a sentence that says what to do.

The status is the number that every edge (HTTP or Functions) answers with; the core itself knows nothing of HTTP.
"""

from typing import Any, ClassVar


class InferenceError(Exception):
    """A request that cannot be answered. `detail` is one sentence for the caller."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The service failed"

    def __init__(self, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s

    def problem(self) -> dict[str, Any]:
        """The error as an `application/problem+json` object (RFC 9457) with our stable `code`."""
        return {"title": self.title, "status": self.status, "detail": self.detail, "code": self.code}


class ModelNotFound(InferenceError):
    """No model or family of that name is served here."""

    code, status, title = "model_not_found", 404, "No such model here"


class InvalidRequest(InferenceError):
    """The request was understood but its content cannot be used, for example an unknown column."""

    code, status, title = "invalid_request", 422, "The request cannot be used"


class InvalidTensor(InferenceError):
    """An infer request contradicts itself or the model, for example by a shape that its data does not have."""

    code, status, title = "invalid_tensor", 400, "The tensors cannot be used"


class UnreadableImage(InferenceError):
    """The body is no picture that we read, or a damaged one."""

    code, status, title = "unreadable_image", 422, "The picture cannot be read"


class UnsupportedMedia(InferenceError):
    """The body is of a kind that this model does not take."""

    code, status, title = "unsupported_media", 415, "This kind of body is not taken"


class TooLarge(InferenceError):
    """A stated limit is exceeded; the detail names the limit and its value."""

    code, status, title = "too_large", 413, "Larger than the limit"


class Overloaded(InferenceError):
    """Every slot is taken and the queue is full; try again after `retry_after_s`."""

    code, status, title = "overloaded", 503, "Too busy"


class DeadlineUnmet(Overloaded):
    """The answer would come, or has come, later than the request's `deadline_ms`; try again after `retry_after_s`."""

    code, title = "deadline_unmet", "Too late for the deadline"


class Unauthorized(InferenceError):
    """The request carries no key of this service."""

    code, status, title = "unauthorized", 401, "A key is needed"


class BodyTimeout(InferenceError):
    """The body took longer to arrive than a body may."""

    code, status, title = "body_timeout", 408, "The body came too slowly"


class HeadersTooLarge(InferenceError):
    """The request line and headers are more, or longer, than the limit; the detail names it and its value."""

    code, status, title = "headers_too_large", 431, "Headers larger than the limit"


class MalformedRequest(InferenceError):
    """What arrived is no HTTP request."""

    code, status, title = "malformed_request", 400, "Not HTTP"


class OutOfMemory(InferenceError):
    """The machine has not the memory for this request, at least not now."""

    code, status, title = "out_of_memory", 503, "Too little memory"


class DeviceLost(InferenceError):
    """The GPU does not answer any more and will not in this process; the tier ends, to be started again."""

    code, status, title = "device_lost", 503, "The GPU was lost"

    def __init__(self, detail: str, *, retry_after_s: int | None = 30) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class RouteNotFound(InferenceError):
    """Nothing is served at this path."""

    code, status, title = "route_not_found", 404, "Nothing here"


class MethodNotAllowed(InferenceError):
    """The path exists, but not for this method; `allow` lists those it takes."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"

    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class InternalError(InferenceError):
    """Our own fault. The reply says nothing of it; the log line of the same request id does."""

    def __init__(self) -> None:
        super().__init__("The service failed on this request; its log has the cause under this request_id.")


class Stopped(Exception):
    """The caller wants the answer no longer: raised by a `Watch` to end a prediction between two steps."""


class StartupError(Exception):
    """The process must not start; the message says which setting, file or driver to mend."""


class SettingsError(StartupError, ValueError):
    """A setting has a value that cannot be used."""


class ManifestError(StartupError, ValueError):
    """A model folder is incomplete, contradictory or altered."""


class ProviderError(StartupError, RuntimeError):
    """The execution provider that was asked for cannot be had."""
