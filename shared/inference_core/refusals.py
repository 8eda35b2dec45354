"""What it means when a run fails: values that the model does not take, too little memory, or our own fault.

ONNX Runtime raises a dozen unrelated classes whose messages begin with its source path, line and C++ signature. The
class alone does not tell a caller's fault from ours (a failed allocation and a failed broadcast are both `Fail`), and
none of those parts is for a caller's eyes.
"""

import re

from inference_core.errors import InferenceError, InvalidTensor, OutOfMemory

_VALUES = frozenset({"InvalidArgument", "Fail", "RuntimeException"})
"""The classes that operators raise for values they do not take; any other is a fault of the service."""
# Compiled (and kept by `re`) at the first failure: a cold start must not pay for them.
_MEMORY = r"(?i)failed to allocate|bad_?alloc|out of memory|alloc_failed"
_DEVICE = r"\bCUDA|\bCUDNN|\bCUBLAS|\bGPU\b"
_NODE = r"while running (\w+) node"
_STATUS = r"(?s).*(?:Status Message: ?|\[ONNXRuntimeError\] : \d+ : \w+ : )"
_CHECK = r"(?s).* was false\. ?"
_SOURCE = r"^(?:[^\s/]+:\d+ \w+ |/\S+:\d+ [^)]*\) )"
"""`file.h:59 Function ` or `/path/file.h:59 a whole signature() `."""
_PRIVATE = r"::|(?<!\w)[/\\]\w|\.(?:h|hpp|cc|cpp|cu|cuh|py|so)\b|0x[0-9a-f]"
_REASON_CHARS_MAX = 300


def explained(error: Exception) -> InferenceError | None:
    """The refusal that `error`, raised by a run, comes to; None where it is a fault of ours, to be logged as such."""
    text = str(error)
    if isinstance(error, MemoryError) or re.search(_MEMORY, text):
        return OutOfMemory("This machine has not the memory that the request needs; send less at a time.")
    if type(error).__name__ not in _VALUES or re.search(_DEVICE, text):
        return None
    return InvalidTensor(f"The model refuses these values: {_reason(text)}")


def _reason(text: str) -> str:
    """The operator and ONNX Runtime's own sentence. Nothing is quoted that still looks like code or a path."""
    node = re.search(_NODE, text)
    sentence = re.sub(_SOURCE, "", re.sub(_CHECK, "", re.sub(_STATUS, "", text.strip()))).strip()
    if not sentence or len(sentence) > _REASON_CHARS_MAX or re.search(_PRIVATE, sentence):
        sentence = "they do not fit this operator." if node else "they do not fit its inputs."
    return f"{node[1]}: {sentence}" if node else sentence
