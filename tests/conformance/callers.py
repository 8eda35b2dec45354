"""tritonclient's two clients behind one face, and the table of what they are asked to do."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import tritonclient.http
import tritonclient.http.aio
from numpy.typing import NDArray
from tritonclient.http import InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

CLIENTS = ("sync", "aio")
MODEL = "sizes-linear"
ROWS = np.array([[1, 1, 1], [2, 2, 2], [0, 0, 0]], np.float32)


class Caller:
    """One client of either kind; what it returns is awaited where it must be."""

    def __init__(self, kind: str, url: str, tier: str) -> None:
        module = tritonclient.http if kind == "sync" else tritonclient.http.aio
        self.kind, self.tier = kind, tier
        self._client = module.InferenceServerClient(url.removeprefix("http://"))

    async def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The client's method `method`."""
        result = getattr(self._client, method)(*arguments, **options)
        return await result if inspect.isawaitable(result) else result

    async def infer(self, model: str, inputs: list[InferInput], **options: Any) -> Any:
        """The client's `infer`."""
        return await self("infer", model, inputs, **options)

    async def refused(self, method: str, *arguments: Any, **options: Any) -> tuple[str, str]:
        """Status and message of the error that the client shows; fails when there is none."""
        try:
            await self(method, *arguments, **options)
        except InferenceServerException as error:
            return str(error.status()), error.message()
        raise AssertionError(f"{method}{arguments} was not refused")


Feature = Callable[[Caller], Awaitable[str | None]]
"""Returns what the table shows where it is not `OK`."""
FEATURES: dict[str, Feature] = {}
OK = "ok"


def feature(name: str) -> Callable[[Feature], Feature]:
    """Enter a check into the table as `name`."""

    def enter(check: Feature) -> Feature:
        FEATURES[name] = check
        return check

    return enter


async def run(tier: str, url: str, kind: str, name: str) -> str:
    """Run one feature and say how it is; raises AssertionError (or what the client raises) when it does not work."""
    caller = Caller(kind, url, tier)
    try:
        return await FEATURES[name](caller) or OK
    finally:
        await caller("close")


def tensor(name: str, array: NDArray[Any], *, binary: bool = True) -> InferInput:
    """An input of a call."""
    given = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def rows(*, binary: bool = True) -> list[InferInput]:
    """The tabular model's input."""
    return [tensor("input", ROWS, binary=binary)]


def samples(kind: str) -> NDArray[Any]:
    """Two rows of the datatype, its ends among them; of numbers JSON keeps exactly."""
    if kind == "BOOL":
        return np.array([[True, False], [False, True]])
    if kind == "BYTES":
        return np.array([["plain", ""], ['né\n\0"\\', "日本🙂"]], object)
    dtype = np.dtype(triton_to_np_dtype(kind))
    ends: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[ends.min, 0], [1, ends.max]], dtype)


def texts(array: NDArray[Any]) -> list[str]:
    """Elements of a BYTES output, which the client gives as bytes from binary and as text from JSON."""
    return [value.decode() if isinstance(value, bytes) else value for value in array.reshape(-1).tolist()]


def same(found: NDArray[Any], sent: NDArray[Any]) -> None:
    """Fail unless both hold the same."""
    assert found.shape == sent.shape
    if sent.dtype == object:
        assert texts(found) == texts(sent)
    else:
        assert found.dtype == sent.dtype
        assert np.array_equal(found, sent)
