"""What is asked for a file, and what was found out about it."""

from dataclasses import dataclass, field
from typing import Any

from inference_core.manifest import (
    ClassificationOutput,
    DetectionOutput,
    ImageInput,
    RegressionOutput,
    TabularInput,
    TabularInputs,
    Task,
    Tensors,
)


@dataclass(frozen=True)
class Wish:
    """What a user says of a file; None and empty where its own shapes and metadata must tell."""

    task: Task | None = None
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """How the file is read and what to know about it. `warnings` are sentences for whoever brought it; `example` is a
    made-up row that a tabular model answers.
    """

    task: Task
    input: TabularInput | TabularInputs | ImageInput | Tensors
    output: ClassificationOutput | RegressionOutput | DetectionOutput | Tensors
    summary: str
    warnings: list[str] = field(default_factory=list)
    example: dict[str, Any] = field(default_factory=dict)
