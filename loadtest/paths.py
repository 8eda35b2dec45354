"""Where the load tests read and write in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADTEST = ROOT / "loadtest"
SLO = ROOT / "shared" / "config" / "slo.toml"
HOSTINGS = ROOT / "shared" / "config" / "hosting.toml"
MODELS = ROOT / "shared" / "models"
PICTURES = ROOT / "build" / "payloads"
TRIAL = ROOT / "build" / "trial"
