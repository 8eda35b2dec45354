"""Freed memory is kept: the next block of the same size costs no page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from inference_core.heap import keep_freed
if sys.argv[1] == "kept":
    keep_freed()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def touch():
    pieces = [bytearray(3_000_000) for _ in range(3)]
    return sum(map(len, pieces))

touch(); touch()
before = faults()
for _ in range(20):
    touch()
print(faults() - before)
"""


def page_faults(how: str) -> int:
    path = ":".join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_blocks_of_megabytes_are_used_again() -> None:
    assert page_faults("kept") < 0.1 * page_faults("given back")
