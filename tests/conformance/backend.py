"""ONNX's own node tests (`onnx.backend.test`), sent through HTTP: their stored inputs must come back as their stored
outputs, for every model that ONNX Runtime itself answers so.
"""

import json
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import onnx
import tritonclient.http
from inference_core.manifest import Manifest, Tensors
from inference_core.registry import Pipeline, Registry, TensorPipeline
from inference_core.session import Session
from inference_core.settings import Settings
from inference_http.app import create_app
from inference_http.service import Service
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from tests.shared.inference_http.conftest import served

IR_VERSION_MAX = 10
"""The newest that this ONNX Runtime reads of the file format itself; operators have versions of their own."""
ENVIRON = {"ALLOW_RELEASED_ONNX_OPSET_ONLY": "0"}
"""Lets ONNX Runtime open models of the operator set that `onnx` is working on; it does know most of its operators."""
_ELEMENTS = "u?int(8|16|32|64)|float16|float|double|bool|string"
_TENSOR = re.compile(rf"tensor\(({_ELEMENTS})\)")
_CARRIED_OUT = re.compile(rf"(seq\()*(tensor|map\(\w+,tensor)\(({_ELEMENTS})\)\)*")

Verdict = Literal["passed", "not representable", "failed", "not run by ONNX Runtime"]


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    name: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """One test: a model, its inputs and the outputs it must give, within the tolerance of ONNX's own runner."""

    name: str
    session: Session
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    rtol: float
    atol: float

    def unlike(self, found: Sequence[Any]) -> str:
        """What differs between `found` and the outputs, empty where nothing does."""
        try:
            for one, wanted in zip(found, self.outputs, strict=True):
                _compare(one, wanted, self.rtol, self.atol)
        except AssertionError as error:
            return " ".join(str(error).split())[:200]
        return ""


def _compare(found: Any, wanted: Any, rtol: float, atol: float) -> None:
    if isinstance(wanted, list):
        assert len(found) == len(wanted), f"{len(found)} elements, not {len(wanted)}"
        for one, other in zip(found, wanted, strict=True):
            _compare(one, other, rtol, atol)
        return
    assert found.shape == wanted.shape, f"shape {found.shape}, not {wanted.shape}"
    if wanted.dtype == object:
        assert found.tolist() == wanted.tolist()
        return
    assert found.dtype == wanted.dtype, f"{found.dtype}, not {wanted.dtype}"
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


def judged(share: float = 1.0, seed: int = 0) -> Iterator[Outcome]:
    """The outcome of every test, or of a seeded `share` of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `onnx` computes its stored values by numpy as it is imported
        tests = sorted(load_model_tests(kind="node"), key=lambda test: str(test.name))
    if share < 1:
        tests = random.Random(seed).sample(tests, round(len(tests) * share))  # noqa: S311
    cases = []
    for test in tests:
        case = _opened(test)
        if isinstance(case, Outcome):
            yield case
        else:
            cases.append(case)
    with _container(cases) as url, httpx.Client(base_url=url) as http:
        client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
        for case in cases:
            if reason := _not_carried(case.session):
                yield _refused(http, case, reason)
            else:
                yield _answered(client, case)
        client.close()


def _opened(test: Any) -> Case | Outcome:
    """The test, where ONNX Runtime gives the stored answer when it is asked without us."""
    test.model.ir_version = min(test.model.ir_version, IR_VERSION_MAX)
    inputs, outputs = ([_value(each) for each in values] for values in test.data_sets[0])
    try:
        session = Session(test.model.SerializeToString(), threads=1)
        case = Case(test.name, session, inputs, outputs, test.rtol, test.atol)
        if _not_carried(session):
            return case  # its values may be of types that the Python binding cannot take either
        found = session.run({spec.name: each for spec, each in zip(session.inputs, inputs, strict=True)})
    except Exception as error:  # whatever ONNX Runtime raises
        return Outcome(test.name, "not run by ONNX Runtime", str(error))
    if difference := case.unlike(found):
        return Outcome(test.name, "not run by ONNX Runtime", f"answers otherwise itself: {difference}")
    return case


def _value(stored: Any) -> Any:
    if isinstance(stored, onnx.TensorProto):
        return numpy_helper.to_array(stored)
    return [_value(each) for each in stored] if isinstance(stored, list) else np.asarray(stored)


def _not_carried(session: Session) -> str:
    """The first type of `session` that has no form on the wire, empty where all have."""
    for spec in session.inputs:
        if not _TENSOR.fullmatch(spec.dtype):
            return f"input {spec.dtype}"
    for spec in session.outputs:
        if not _CARRIED_OUT.fullmatch(spec.dtype):
            return f"output {spec.dtype}"
    return ""


@contextmanager
def _container(cases: Sequence[Case]) -> Iterator[str]:
    """The address of the container tier's application with all models in it."""
    pipelines: list[Pipeline] = [TensorPipeline(_manifest(case.name), case.session) for case in cases]
    service = Service(Registry(pipelines), Settings(), "cpu", threads=1, cores=1, quota_cores=None)
    with served(create_app(service)) as url:
        yield url


def _manifest(name: str) -> Manifest:
    return Manifest(Path(), name, "node", name, "tensor", "", "", "", "", Tensors(), Tensors())


def _refused(http: httpx.Client, case: Case, reason: str) -> Outcome:
    """A type that is not carried must be refused in words, and described all the same."""
    inputs = [{"name": spec.name, "datatype": spec.dtype, "shape": [], "data": []} for spec in case.session.inputs]
    described = http.get(f"/v2/models/{case.name}")
    reply = http.post(f"/v2/models/{case.name}/infer", json={"inputs": inputs})
    if described.status_code != 200 or not 400 <= reply.status_code < 500:
        return Outcome(case.name, "failed", f"{reason}: {described.status_code}, then {reply.text}")
    return Outcome(case.name, "not representable", reason)


def _answered(client: Any, case: Case) -> Outcome:
    """Both forms, each way; JSON where all numbers have a form in it."""
    forms = [True, False] if _is_finite(case.inputs) else [True]
    for binary in forms:
        try:
            found = _infer(client, case, binary=binary)
        except InferenceServerException as error:
            return Outcome(case.name, "failed", f"binary={binary}: {error}")
        if difference := case.unlike(found):
            return Outcome(case.name, "failed", f"binary={binary}: {difference}")
    return Outcome(case.name, "passed")


def _is_finite(values: Sequence[NDArray[Any]]) -> bool:
    return all(bool(np.isfinite(value).all()) for value in values if value.dtype.kind == "f")


def _infer(client: Any, case: Case, *, binary: bool) -> list[Any]:
    inputs = []
    for spec, value in zip(case.session.inputs, case.inputs, strict=True):
        given = InferInput(spec.name, list(value.shape), np_to_triton_dtype(value.dtype))
        given.set_data_from_numpy(value, binary_data=binary)
        inputs.append(given)
    outputs = [InferRequestedOutput(spec.name, binary_data=binary) for spec in case.session.outputs]
    reply = client.infer(case.name, inputs, outputs=outputs)
    return [_output(reply, spec.name, spec.dtype) for spec in case.session.outputs]


def _output(reply: Any, name: str, onnx_type: str) -> Any:
    described = reply.get_output(name)
    array = reply.as_numpy(name)
    if array is None:  # the client has nothing for a tensor without elements
        array = np.zeros(described["shape"], triton_to_np_dtype(described["datatype"]))
    if described["datatype"] == "BYTES":
        texts = [each.decode() if isinstance(each, bytes) else each for each in array.reshape(-1).tolist()]
        if onnx_type.startswith("seq("):
            return [_element(json.loads(text)) for text in texts]
        array = np.array(texts, object).reshape(described["shape"])
    return array


def _element(document: dict[str, Any]) -> NDArray[Any]:
    return np.array(document["data"], triton_to_np_dtype(document["datatype"])).reshape(document["shape"])


def _kind(reason: str) -> str:
    """A reason less what tells one case from the next."""
    if "answers otherwise itself" in reason:
        return "answers otherwise than is stored"
    code = re.search(r"\[ONNXRuntimeError\] : \d+ : (\w+)", reason)
    return code[1] if code else reason


def report(outcomes: Sequence[Outcome]) -> str:
    """Counts by verdict, the reasons for what is not representable, and every failure."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    lines = [f"{count:6d}  {verdict}" for verdict, count in counts.most_common()]
    for verdict in ("not representable", "not run by ONNX Runtime"):
        reasons = Counter(_kind(outcome.reason) for outcome in outcomes if outcome.verdict == verdict)
        lines += [f"{verdict}:", *(f"{count:6d}  {reason}" for reason, count in reasons.most_common())]
    lines += [f"FAILED {o.name}: {o.reason}" for o in outcomes if o.verdict == "failed"]
    return "\n".join(lines)
