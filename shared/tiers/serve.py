"""Start one tier in this process, as its hosting would."""

import importlib
import os
import sys
from pathlib import Path

_ENTRIES = {"function": "local_host", "container": "image_api.main", "gpu": "gpu_api.main"}
"""The module of each tier that has `serve(host, port)`."""
TIERS = tuple(_ENTRIES)
_PROJECT = Path(__file__).resolve().parents[2]
MODELS_DIR = _PROJECT / "shared" / "models"
"""The models that come with the project."""


def serve(tier: str, host: str, port: int, models: Path | None) -> int:
    """Serve `tier` until it is stopped. `models`, where given, overrides the setting that every tier reads."""
    if models:
        os.environ["INFERENCE_MODELS_DIR"] = str(models)
    os.environ.setdefault("INFERENCE_MODELS_DIR", str(MODELS_DIR))
    if (records := _PROJECT / "shared" / "records").is_dir():
        os.environ.setdefault("INFERENCE_RECORDS", str(records))
    if not any(f"INFERENCE_JOBS_{name}" in os.environ for name in ("DIR", "QUEUE_URL", "CONNECTION")):
        os.environ["INFERENCE_JOBS_DIR"] = str(_PROJECT / "build" / "jobs" / tier)
    if tier == "function":
        # functions/ is a deploy root of its own, not a package: it is found as the platform finds it.
        sys.path.insert(0, str(_PROJECT / "functions"))
    importlib.import_module(_ENTRIES[tier]).serve(host, port)
    return 0
