"""The few messages between the Functions host and its worker that a call needs, as plain objects.

The worker library takes its message classes from whoever drives it, so this module is its `protos`.
"""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any


class Message(SimpleNamespace):
    """A message with whatever fields it is given. Like a protobuf oneof, `WhichOneof` names the field that is set."""

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802
        return next(iter(vars(self)), None)


class StatusResult(Message):
    Failure = 0
    Success = 1


class BindingInfo(Message):
    undefined = 0
    inout, out = 2, 1


TypedData = RpcHttp = ParameterBinding = RpcException = RpcFunctionMetadata = WorkerMetadata = Message
WorkerInitResponse = FunctionMetadataResponse = FunctionLoadResponse = InvocationResponse = Message


def stream(**request: Message) -> Any:
    """What the proxy worker hands on: one request of the host's stream, and what goes with it."""
    protos: ModuleType = sys.modules[__name__]
    return SimpleNamespace(request=Message(**request), properties={"host": "127.0.0.1", "protos": protos})


def invocation(function_id: str, name: str, data: Message) -> Message:
    """A call of one function with one input."""
    return Message(
        invocation_id="one",
        function_id=function_id,
        input_data=[InputBinding(name=name, data=data)],
        trigger_metadata={},
        trace_context=Message(trace_parent="", trace_state="", attributes={}),
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    )


class InputBinding(Message):
    """The value of the input `name`, in `data`."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802
        return "data"
