"""`python3 vm-gpu/bench.py`: measure the GPU tier on the machine that this runs on, and write one record."""

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from inference_core.registry import read_manifests
from tier_planner.measurements import write_measurement

from gpu_bench import equality, facts, loop, pipeline, power, service
from gpu_bench.context import Context, Plan
from gpu_bench.halves import with_halves
from gpu_bench.points import measurement_of
from gpu_bench.record import FAILED, read_bench
from gpu_bench.run import SHARES, Order, run
from gpu_bench.summary import summary
from loadtest.machine import git_commit
from loadtest.paths import MODELS, ROOT
from loadtest.processes import interrupt

SECTIONS: dict[str, Callable[[Context], None]] = {
    "facts": facts.run,
    "loop": loop.run,
    "pipeline": pipeline.run,
    "service": service.run,
    "equality": equality.run,
    "accuracy": equality.run_accuracy,
    "cpu": power.run,
    "gpu-decode": pipeline.run_gpu_decode,
    "options": loop.run_options,
    "tensorrt": loop.run_tensorrt,
}
FOLDER = ROOT / "build" / "gpu-bench"


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask. Returns 0 when no section failed, 1 when one did."""
    if arguments[:1] == ["--section"]:
        section(*arguments[1:])
    options = _parser().parse_args(arguments)
    if options.summary:
        sys.stdout.write(summary(read_bench(options.summary)))
        return 0
    began = monotonic()
    models = options.models
    if options.half:
        models, missing = with_halves(models, options.folder / "models", os.environ)
        sys.stdout.writelines(f"not made: {what}\n" for what in missing)
    plan = Plan(
        provider=options.provider,
        models=str(models.resolve()),
        folder=str(options.folder.resolve()),
        picture_px=_size(options.picture),
        picture_count=options.pictures,
        batches=_numbers(options.batches),
        window_s=options.window_s,
        board_count=options.boards,
        load_s=options.load_s,
    )
    order = Order(
        plan=plan,
        sections=tuple(name for name in SHARES if name in options.sections.split(",")),
        budget_s=options.budget_s - (monotonic() - began),
        out=options.out,
        command=f"python3 vm-gpu/bench.py {' '.join(arguments)}".rstrip(),
        commit=options.commit or git_commit(ROOT),
    )
    bench = run(order, os.environ)
    if measurement := measurement_of(bench, read_manifests(models)):
        write_measurement(options.measurement or options.out.with_suffix(".measurement.json"), measurement)
    sys.stdout.write("\n" + summary(bench))
    return int(any(part.state == FAILED for part in bench.sections))


def section(name: str, plan: str, share_s: str) -> None:
    """One section, in this process, which ends with it."""
    signal.signal(signal.SIGTERM, interrupt)
    given = json.loads(plan)
    given |= {"picture_px": tuple(given["picture_px"]), "batches": tuple(given["batches"])}
    chosen = Plan(**given)
    context = Context(chosen, Path(chosen.folder) / f"{name}.rows", os.environ, monotonic() + float(share_s))
    try:
        SECTIONS[name](context)
    except Exception as error:  # whatever it is, the other sections are still worth their time
        traceback.print_exc()
        context.end(error)
    else:
        context.end()
    sys.stdout.flush()
    # Not by way of the interpreter's end: it would wait for threads of a pipeline that failed.
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vm-gpu/bench.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER / "record.json", metavar="FILE", help="the record to write")
    parser.add_argument("--measurement", type=Path, metavar="FILE", help="for the planner; default: beside the record")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="folder of model folders")
    parser.add_argument(
        "--provider", choices=("cuda", "cpu"), default="cuda", help="cpu: a stand-in, to try the script"
    )
    parser.add_argument("--sections", default=",".join(SHARES), metavar="A,B", help="default: %(default)s")
    parser.add_argument("--budget-s", type=float, default=220.0, metavar="S", help="for all; default: %(default)s")
    parser.add_argument("--batches", default="32,1,64,16,8,4,2", metavar="N,N", help="in this order; %(default)s")
    parser.add_argument("--window-s", type=float, default=1.5, metavar="S", help="one row; default: %(default)s")
    parser.add_argument("--load-s", type=float, default=15.0, metavar="S", help="one rate; default: %(default)s")
    parser.add_argument("--boards", type=int, default=32, metavar="N", help="for accuracy; default: %(default)s")
    parser.add_argument("--picture", default="3840x2160", metavar="WxH", help="pixels; default: %(default)s")
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help="for pictures and logs")
    parser.add_argument(
        "--half", action="store_true", help="make the float16 variants that are missing, and measure them"
    )
    parser.add_argument("--commit", default="", metavar="ID", help="what is checked out, where git cannot say it")
    parser.add_argument("--summary", type=Path, metavar="RECORD", help="print a record as tables, measure nothing")
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
