"""Section `service`: the tier as a process of its own, 4K pictures at Poisson arrivals.

First the largest variant at the rate of its target, then the smallest at a share of what it can do at most.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from inference_core.manifest import Manifest
from tier_planner.measurements import quantile
from tier_planner.objectives import read_objectives
from tier_planner.records import Sample

from gpu_bench.client import GENERATOR, Client
from gpu_bench.context import FLOAT32, Context
from gpu_bench.rows import ServiceRow
from loadtest.paths import SLO
from loadtest.processes import Processes, Running, require_free_port, wait_until_ready
from loadtest.targets import figures_of
from loadtest.tier_facts import ask_tier

TARGET_RATE_PER_S = 5.0
PATIENCE_S = 10.0
WARM_SHARE = 0.15
PROBE_SHARE = 0.25
STEP_SHARE = 0.5
"""Of the time at the target's rate: how long the tier is warmed, its most is probed, and one share of it is held."""
STEPS = (0.8, 0.95, 0.6)
"""Shares of the most: the first, then the second where the tier sustained it, else the third."""
SEED = 197
PORT = 18702
STOP_S = 2.0
PID_FILE = "service.pid"
"""Says, beside the pictures, which server runs: whoever kills this section ends it too."""


def run(context: Context) -> None:
    """Load a real server process. Raises TrialError with the end of its log when it does not start or ends."""
    models = context.models((FLOAT32,))
    smallest, largest = models[0], models[1] if len(models) > 1 else models[0]
    require_free_port(PORT, "gpu", "Something else listens there.")
    with Processes() as processes:
        tier = _start(context, processes, sorted({largest.name, smallest.name}))
        _at_target(context, largest)
        _at_most(context, smallest)
        if (status := tier.process.poll()) is not None:
            raise RuntimeError(f"The tier ended with status {status} under load:\n{tier.last_lines()}")
        processes.stop(STOP_S)
        Path(context.plan.folder, PID_FILE).unlink()


def _start(context: Context, processes: Processes, models: Sequence[str]) -> Running:
    command = [sys.executable, "-m", "gpu_api.main", "--port", str(PORT)]
    settings = {
        "INFERENCE_MODELS_DIR": context.plan.models,
        "INFERENCE_MODELS": ",".join(models),
        "INFERENCE_ALLOW_CPU": "0" if context.cuda else "1",
    }
    tier = processes.start("gpu", command, Path(context.plan.folder) / "service.log", {**context.inherited, **settings})
    Path(context.plan.folder, PID_FILE).write_text(str(tier.process.pid))
    wait_until_ready(tier, f"http://127.0.0.1:{PORT}", max(1.0, context.ends - monotonic()))
    return tier


def _at_target(context: Context, manifest: Manifest) -> None:
    load_s = context.plan.load_s
    if context.fits(load_s * (1 + WARM_SHARE), f"{manifest.name} at {TARGET_RATE_PER_S:g}/s"):
        client = _client(context, manifest)
        client.load(TARGET_RATE_PER_S, load_s * WARM_SHARE, SEED + 1)
        context.add(_loaded(client, manifest, TARGET_RATE_PER_S, load_s))


def _at_most(context: Context, manifest: Manifest) -> None:
    load_s, what = context.plan.load_s, f"{manifest.name} at its most"
    if not context.fits(load_s * (PROBE_SHARE + STEP_SHARE), what):
        return
    client = _client(context, manifest)
    most_per_s = client.closed_rate_per_s(context.callers + context.callers // 2, load_s * PROBE_SHARE)
    first, higher, lower = STEPS
    row = _loaded(client, manifest, first * most_per_s, load_s * STEP_SHARE)
    context.add(row)
    if context.fits(load_s * STEP_SHARE, f"{manifest.name} at a second rate"):
        share = higher if row.is_sustained else lower
        context.add(_loaded(client, manifest, share * most_per_s, load_s * STEP_SHARE))


def _client(context: Context, manifest: Manifest) -> Client:
    return Client(PORT, manifest.name, context.pictures(), PATIENCE_S)


def _loaded(client: Client, manifest: Manifest, rate_per_s: float, duration_s: float) -> ServiceRow:
    samples = client.load(rate_per_s, duration_s, SEED)
    objective = read_objectives(SLO).of_tier("gpu")
    figures = figures_of(samples, replace(objective, model=manifest.name, rate_per_s=rate_per_s, duration_s=duration_s))
    failed = Counter(sample.error for sample in samples if sample.error)
    return ServiceRow(
        model=manifest.name,
        variant=manifest.variant,
        generator=GENERATOR,
        rate_per_s=rate_per_s,
        duration_s=duration_s,
        arrivals=figures.arrivals,
        answered=figures.answered,
        errors=tuple(f"{count} x {error}" for error, count in failed.most_common(3)),
        achieved_per_s=figures.achieved_rate_per_s,
        p50_ms=figures.p50_ms,
        p95_ms=figures.p95_ms,
        p99_ms=figures.p99_ms,
        lag_p99_ms=figures.lag_p99_ms,
        device=ask_tier(f"http://127.0.0.1:{PORT}", manifest.name).device,
        stages_ms=_medians_ms(samples),
    )


def _medians_ms(samples: Sequence[Sample]) -> Mapping[str, float]:
    stages: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        for stage, spent_ms in sample.stages_ms.items():
            stages[stage].append(spent_ms)
    return {stage: round(quantile(values, 0.5), 3) for stage, values in stages.items()}
