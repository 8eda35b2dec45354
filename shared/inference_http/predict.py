"""`POST /v1/models/{model}/predict`: the body to the pipeline, the prediction to the wire.

Plain ASGI in front of FastAPI's router. FastAPI's layers halve the throughput of a tabular request under
concurrency (8,500 against 20,500 requests/s behind Starlette alone, 28,100 bare; two-core AMD EPYC, 2026-11).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

import orjson
from inference_core.errors import AccuracyUnmet, DeadlineUnmet, InferenceError, Stopped
from inference_core.registry import Pipeline, Registry
from inference_core.results import Prediction, Watch
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from inference_http.body import until_gone
from inference_http.calls import Calls, Timings, require_post, send_answer
from inference_http.choice import Answer, Choice, require_accuracy
from inference_http.choices import Choices
from inference_http.edge import CALL, Call
from inference_http.query import Wish, wish
from inference_http.service import Service

PREFIX, SUFFIX = "/v1/models/", "/predict"


def model_name(path: str) -> str | None:
    """The model that `path` asks to predict, None when the path is another route."""
    if not (path.startswith(PREFIX) and path.endswith(SUFFIX)):
        return None
    name = path[len(PREFIX) : -len(SUFFIX)]
    return name if name and "/" not in name else None


class Predict:
    """Answers predict requests for every model of `service`."""

    def __init__(self, service: Service, calls: Calls, choices: Choices) -> None:
        self._service, self._calls, self._choices = service, calls, choices
        self._default_ms = service.settings.deadline_ms
        self._trial: asyncio.Task[None] | None = None

    async def answer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to the model or family `name`; raises InferenceError or ClientGone for the edge."""
        require_post(scope)
        registry, query = self._service.registry, scope["query_string"]
        pipeline, scale, due = registry.find(name), 1.0, None
        if query or self._default_ms:
            wanted = wish(query, scope[CALL].started, self._default_ms)
            if variants := self._choices.variants(name, wanted):
                await self._answer_chosen(name, variants, wanted, scope, receive, send)
                return
            due, scale = wanted.due, 1.0 if wanted.scale is None else wanted.scale
            require_accuracy(pipeline.manifest, scale, wanted.min_accuracy)
        leave = Leave(due)
        work = partial(_predicted, registry, pipeline, scale, leave)
        prediction, timings_ms = await self._calls.run(pipeline.manifest.name, work, scope, receive, leave.stop)
        self._choices.learn(pipeline.manifest, prediction.fields, timings_ms)
        await self._send(send, prediction.fields, timings_ms)

    async def _answer_chosen(
        self, family: str, variants: list[Pipeline], wanted: Wish, scope: Scope, receive: Receive, send: Send
    ) -> None:
        call: Call = scope[CALL]
        call.model, leave = family, Leave(wanted.due)
        body = await self._calls.body(scope, receive, wanted.due)
        options = await run_in_threadpool(self._choices.options, variants, wanted.scale, body)

        work = partial(_predicted, self._service.registry, body=body)
        choice = Choice(options, wanted, self._choices.forecast, partial(work, watch=leave))
        try:
            gone = partial(until_gone, receive)
            prediction, timings_ms = await self._calls.run_flexible(choice, gone, leave.stop)
        except (AccuracyUnmet, DeadlineUnmet):
            choice.missed()
            self._begin_trial(choice, work)
            raise
        self._calls.count(call, choice.option.kind[0], timings_ms)
        self._choices.count(choice.option)
        await self._send(send, prediction.fields | {"choice": choice.ended()}, timings_ms)

    def _begin_trial(self, refused: Choice, work: Callable[..., Answer]) -> None:
        """A forecast that refuses is mended by no answer. Where nothing else computes, what was refused is done all the
        same from time to time, for its time alone: a machine that was slow must not refuse for ever. The `watch` of
        this `work` knows of no deadline: the one that was refused may pass meanwhile.
        """
        leave = Leave()
        if not self._calls.is_idle or not (trial := refused.trial(partial(work, watch=leave))):
            return
        if self._choices.is_trial_due():
            self._trial = asyncio.create_task(self._try(trial, leave))

    async def _try(self, trial: Choice, leave: "Leave") -> None:
        with suppress(InferenceError):
            await self._calls.run_flexible(trial, asyncio.Event().wait, leave.stop)
            trial.ended()

    async def _send(self, send: Send, fields: dict[str, Any], timings_ms: Timings) -> None:
        reply = Prediction(fields, dict(timings_ms)).reply() | {"hosting": self._service.hosting}
        await send_answer(send, b"application/json", orjson.dumps(reply), timings_ms)


class Leave:
    """The `Watch` of a request: ends its prediction between two steps once nobody waits for it."""

    __slots__ = ("_due", "_is_wanted")

    def __init__(self, due: float | None = None) -> None:
        """`due` is on the clock of `perf_counter`."""
        self._due = due
        self._is_wanted = True

    def stop(self) -> None:
        """The client has left. Called from the event loop."""
        self._is_wanted = False

    def __call__(self, _done: int, _of: int) -> None:
        """Raise Stopped when the client has left. Called from the prediction's thread, as is `wanted`."""
        if not self._is_wanted:
            raise Stopped

    def wanted(self) -> None:
        """The same, and DeadlineUnmet once the deadline has passed: asked while the work waits for others."""
        self(0, 0)
        if self._due is not None and perf_counter() > self._due:
            raise DeadlineUnmet("The deadline went by in the queue.", retry_after_s=1)


def _predicted(
    registry: Registry, pipeline: Pipeline, scale: float, watch: Watch, body: bytes
) -> tuple[Prediction, Timings]:
    try:
        prediction = pipeline.predict(body, scale=scale, watch=watch)
    except InferenceError:
        registry.stats[pipeline.manifest.name].add_failure()
        raise
    return prediction, prediction.timings_ms
