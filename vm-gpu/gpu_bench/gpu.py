"""What the driver says of the GPU, through `nvidia-smi`, which comes with it."""

import subprocess

TIMEOUT_S = 10.0


def ask(*names: str) -> dict[str, str]:
    """The first GPU's values by the names of `nvidia-smi --help-query-gpu`; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)  # noqa: S603 - names are ours
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.strip().splitlines()
    values = [value.strip() for value in lines[0].split(",")] if lines else []
    return dict(zip(names, values, strict=False))


def number(name: str) -> float | None:
    """One value that is a number; None where the driver does not say."""
    return as_number(ask(name).get(name, ""))


def as_number(text: str) -> float | None:
    """`text` as a number; None where it is none, such as `[N/A]`."""
    try:
        return float(text)
    except ValueError:
        return None
