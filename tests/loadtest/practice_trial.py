"""The trial with practice tiers: `practice_trial.py SLO MODELS FOLDER [what `tiers trial` takes]`."""

import os
import sys
from pathlib import Path

from loadtest.trial import Trial, main

SERVE = (sys.executable, str(Path(__file__).with_name("practice_tier.py")), "serve")

if __name__ == "__main__":
    slo, models, folder = map(Path, sys.argv[1:4])
    sys.exit(
        main(sys.argv[4:], os.environ, Trial(slo=slo, models=models, folder=folder, serve=SERVE, ready_timeout_s=4))
    )
