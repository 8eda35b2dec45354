"""What can go wrong with jobs, each with a stable code and a status, as in the core."""

from inference_core.errors import InferenceError


class JobNotFound(InferenceError):
    """No job of that id is known (any more)."""

    code, status, title = "job_not_found", 404, "No such job"


class JobNotFinished(InferenceError):
    """The job has no result yet; ask again after `retry_after_s`."""

    code, status, title = "job_not_finished", 409, "Not finished yet"


class JobCancelled(InferenceError):
    """The job was cancelled; it has no result and will have none."""

    code, status, title = "job_cancelled", 410, "Cancelled"


class JobExpired(InferenceError):
    """The job's result was kept as long as was promised, and is gone."""

    code, status, title = "job_expired", 410, "Expired"


class JobDeadline(InferenceError):
    """The job's deadline passed before it was finished."""

    code, status, title = "job_deadline", 504, "Not finished before its deadline"


class JobFailed(InferenceError):
    """Every attempt ended without an answer."""

    code, status, title = "job_failed", 500, "The job failed"


class IdempotencyConflict(InferenceError):
    """The same `Idempotency-Key` came with another request."""

    code, status, title = "idempotency_conflict", 409, "The key was used for another request"


class WebhookRefused(InferenceError):
    """The webhook's address is not one that this service may call."""

    code, status, title = "webhook_refused", 422, "The webhook cannot be used"


class JobsOff(InferenceError):
    """The service has no store for jobs."""

    code, status, title = "jobs_off", 404, "Jobs are not served here"


class TooManyJobs(InferenceError):
    """As many jobs wait as the service takes; try again after `retry_after_s`."""

    code, status, title = "too_many_jobs", 503, "Too many jobs wait"


class StoreFull(InferenceError):
    """The store has no room for more bytes."""

    code, status, title = "store_full", 507, "The store is full"


class StoreUnavailable(InferenceError):
    """The store cannot be reached, or is too busy; what was asked may or may not have happened."""

    code, status, title = "store_unavailable", 503, "The store cannot be reached"
