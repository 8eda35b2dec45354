"""Ten minutes at 80 % of what a tier can do: does its memory stay flat, and is every answer right?

`python -m loadtest.soak [--seconds 600] [--share 0.8]` starts a container tier of its own, finds its capacity, offers a
share of it: rows, tensors, pictures, and requests that must be refused, whose ways out leak as well as any. Prints the
figures; exit status 0 when no answer was wrong and memory grew by less than `--slope-max` MiB an hour.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from loadtest.arrivals import poisson_arrivals
from loadtest.console import standard_console
from loadtest.paths import MODELS
from loadtest.payloads import board_pictures
from loadtest.processes import TrialError
from loadtest.steady import (
    Hit,
    Shot,
    capacity_per_s,
    offered,
    percentile,
    slope_mib_per_hour,
    tier_of_our_own,
    watched_memory,
)

DETECTOR, TABULAR = "board-defects-n", "breast-cancer-boosted"
BUSY = 503
"""At a share of its capacity a tier refuses nothing, unless the machine has less to give than when it was measured."""
_WARM_S = 5.0
_LOOKS = 200
"""How often memory is read in a soak."""


def shots(scale: float) -> list[Shot]:
    """What is sent in turn: one picture, and beside it what costs little and takes every other way through the tier."""
    picture = board_pictures()[0].read_bytes()
    row = json.loads((MODELS / TABULAR / "golden.json").read_text(encoding="utf-8"))["rows"][0]
    rows = json.dumps({"rows": [row]}).encode()
    many = json.dumps({"rows": [row] * 200}).encode()
    entry = {"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": [float(v) for v in row.values()]}
    detect, predict = f"/v1/models/{DETECTOR}/predict?scale={scale:g}", f"/v1/models/{TABULAR}/predict"
    return [
        Shot(detect, picture),
        Shot(predict, rows),
        Shot(predict, many),
        Shot(f"/v2/models/{TABULAR}/infer", json.dumps({"inputs": [entry]}).encode()),
        Shot(detect, picture[: len(picture) // 2], 422),
        Shot(detect, rows, 415),
        Shot(predict, b'{"rows": [{"mean_radius": 1}]}', 422),
        Shot("/v1/models/none/predict", rows, 404),
    ]


def report(hits: Sequence[Hit], seen: Sequence[tuple[float, float]], capacity: float, share: float) -> list[str]:
    """The figures in words."""
    seconds = max(hit.due_s for hit in hits) - min(hit.due_s for hit in hits)
    refused = sum(hit.status == BUSY for hit in hits)
    wrong = sum(not hit.is_right for hit in hits) - refused
    memory = [mib for _, mib in seen]
    latencies = [hit.latency_ms for hit in hits if hit.status == hit.shot.status == 200]
    lines = [
        f"{len(hits)} requests in {seconds:.0f} s, {share:.0%} of a capacity of {capacity:.1f}/s",
        f"wrong answers: {wrong} ({wrong / len(hits):.3%}); refused as too busy: {refused} ({refused / len(hits):.3%})",
        f"answered: p50 {percentile(latencies, 0.5):.0f} ms, p95 {percentile(latencies, 0.95):.0f} ms",
        f"memory, MiB: {memory[0]:.0f} at the start, at most {max(memory):.0f}, {memory[-1]:.0f} at the end",
        f"slope of the later half: {slope_mib_per_hour(seen):+.1f} MiB/h",
    ]
    statuses = sorted({(hit.shot.status, hit.status) for hit in hits if not hit.is_right})
    return lines + [f"  {found} came where {wanted} was due" for wanted, found in statuses]


def main(arguments: Sequence[str]) -> int:
    """Soak, print, judge."""
    options = _options(arguments)
    console = standard_console()
    sent = shots(options.scale)
    # A queue as long as the soak's bursts: what is refused here is wrong, not a matter of load.
    settings = {"INFERENCE_MODELS": f"{DETECTOR},{TABULAR}", "INFERENCE_QUEUE_MAX": "200"}
    try:
        with tier_of_our_own("container", options.port, settings) as tier:
            capacity_per_s(options.port, sent, seconds=_WARM_S, clients=2)
            capacity = capacity_per_s(options.port, sent, seconds=2 * _WARM_S, clients=2)
            console.say(f"capacity {capacity:.1f}/s; {options.share:.0%} of it for {options.seconds:.0f} s")
            due_s = poisson_arrivals(options.share * capacity, options.seconds, seed=1)
            with watched_memory(tier.process.pid, options.seconds / _LOOKS) as seen:
                hits = offered(options.port, sent, due_s)
    except TrialError as error:
        console.say(str(error))
        return 2
    console.say("\n".join(report(hits, seen, capacity, options.share)))
    return int(not all(hit.is_right for hit in hits) or slope_mib_per_hour(seen) > options.slope_max)


def _options(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m loadtest.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--share", type=float, default=0.8, help="of capacity")
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--slope-max", type=float, default=60.0, help="MiB an hour; a short soak is noisier")
    parser.add_argument("--port", type=int, default=8011)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
