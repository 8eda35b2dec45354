"""Hold a deployed tier to its objective, with the same load files that the trial uses on a laptop."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from infra.scripts.steps import Runner, StepError, say
from infra.scripts.target import URLS, Target, environment_values, value

FILES = {
    "function": "function_load.py",
    "container": "container_load.py",
    "container-gpu": "gpu_load.py",
    "gpu": "gpu_load.py",
}
VERDICTS = {0: "the target was met", 1: "the target was missed", 2: "the load could not run", 3: "not judged"}


def loadtest(runner: Runner, target: Target, tier: str, *, objective: str, records: Path) -> int:
    """Run Locust against the endpoint and keep its record. Answers with Locust's own exit status."""
    url = value(environment_values(runner, target), URLS[tier])
    if url.startswith("<") and not runner.dry:
        mend = f"python -m infra deploy {tier} --environment {target.environment}"
        raise StepError(f"{target.environment} has no {tier} tier\n  mend:   {mend}")
    now = datetime.now(tz=UTC).strftime("%Y%m%dT%H%M%SZ")
    record = records / f"{tier}-{target.environment}-{now}.json"
    chosen = ["--objective", objective] if objective else []
    command = [sys.executable, "-m", "locust", "-f", f"loadtest/{FILES[tier]}", "--headless", "--host", url]
    command += [*chosen, "--hosting", f"{tier} in {target.location}", "--record", str(record)]
    if tier == "gpu":
        say("  the GPU machines answer inside the virtual network only: run this from a machine in it")
    if not runner.dry:
        records.mkdir(parents=True, exist_ok=True)
    status = runner.stream("load", command)
    if not runner.dry:
        say(f"  {VERDICTS.get(status, f'exit {status}')}; record: {record}")
    return status


def function_key(runner: Runner, target: Target) -> str:
    """The key that the function tier asks of its callers. It travels in the environment: arguments can be seen."""
    name = value(environment_values(runner, target), "FUNCTION_NAME")
    command = ["az", "functionapp", "keys", "list", "--resource-group", target.group, "--name", name]
    return runner.ask([*command, "--query", "functionKeys.default", "--output", "tsv"], "<KEY>")
