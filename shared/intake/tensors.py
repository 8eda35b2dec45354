"""Any model at all, called by its tensors: what cannot cross the wire, and whether it runs on zeros."""

from typing import Any

import numpy as np
from inference_core.manifest import Tensors
from inference_core.session import Session, TensorSpec
from inference_core.tensors import DTYPES, datatype
from numpy.typing import NDArray

from intake import trial_run
from intake.errors import Refused
from intake.wish import Found


def refuse_types(session: Session) -> None:
    """Raise Refused for the first tensor of a type that no tier can send or take, for example bfloat16."""
    for kind, specs in (("Input", session.inputs), ("Output", session.outputs)):
        for spec in specs:
            if datatype(spec.dtype) is None:
                raise Refused(f"{kind} {spec.name!r} is a {spec.dtype}, which no tier can carry; cast it to float32.")


def recognised_tensors(session: Session) -> Found:
    """The model in `session` as its tensors."""
    warnings = []
    try:
        answers = trial_run.run(session, {spec.name: _zeros(spec) for spec in session.inputs})
        broken = [name for name, value in answers.items() if _is_no_number(value)]
        if broken:
            warnings.append(f"Output {broken[0]!r} holds NaN or infinity when all inputs are 0.")
    except Refused as error:
        warnings.append(f"It was not proven to run, for zeros are not to its liking. {error}")
    names = f"{', '.join(s.name for s in session.inputs)} to {', '.join(s.name for s in session.outputs)}"
    return Found("tensor", Tensors(), Tensors(), names, warnings)


def _zeros(spec: TensorSpec) -> NDArray[Any]:
    """Zeros, or empty texts, of one element along each free axis."""
    shape = [size if isinstance(size, int) and size >= 0 else 1 for size in spec.shape]
    kind = datatype(spec.dtype)
    return np.full(shape, "", object) if kind == "BYTES" else np.zeros(shape, DTYPES[kind or "FP32"])


def _is_no_number(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all()
