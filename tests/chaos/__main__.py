"""`make chaos`: the run on every store, about five minutes; `--short` for CI."""

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.chaos.run import Chaos, Plan, as_text
from tests.chaos.stores import azure_stage, sqlite_stage
from tests.shared.inference_jobs.azurite import missing

SHORT = Plan(jobs=30, work_s=0.4, lease_s=4.0, disturbed_s=20.0, kill_every_s=1.5, denied_s=4.0)
STAGES = {"sqlite": sqlite_stage, "azurite": azure_stage}


def main() -> int:
    """1 when a job was lost, doubled or answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", default=list(STAGES), help="sqlite, azurite (default: both)")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    options = parser.parse_args()
    plan = replace(SHORT if options.short else Plan(), seed=options.seed)
    is_good = True
    for name in options.stores:
        if name == "azurite" and (reason := missing()):
            print(f"azurite: skipped: {reason}")
            continue
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{name}-"))
        with STAGES[name](folder) as stage:
            report = Chaos(name, folder, stage, plan).run()
        print(
            f"{name}: {'good' if report.is_good else f'BAD, see the logs in {folder}'}\n{as_text(report)}", flush=True
        )
        if report.is_good:
            shutil.rmtree(folder)
        is_good &= report.is_good
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
