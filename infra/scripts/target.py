"""What is deployed to: an azd environment, its place, and what azd knows of it."""

import json
from dataclasses import dataclass

from infra.scripts.steps import Runner

TIERS = ("function", "container", "container-gpu", "gpu")
ALL = ("function", "container", "gpu")
"""What `all` means: the GPU image runs on machines, not on a serverless GPU as well."""
FLAGS = {
    "function": "DEPLOY_FUNCTION",
    "container": "DEPLOY_CONTAINER",
    "container-gpu": "DEPLOY_CONTAINER_GPU",
    "gpu": "DEPLOY_GPU",
}
URLS = {
    "function": "FUNCTION_URL",
    "container": "CONTAINER_URL",
    "container-gpu": "CONTAINER_GPU_URL",
    "gpu": "GPU_URL",
}


@dataclass(frozen=True)
class Target:
    """Where to deploy, as given on the command line."""

    environment: str
    location: str
    subscription: str = ""

    @property
    def group(self) -> str:
        """The resource group that main.bicep makes."""
        return f"rg-{self.environment}"


def tiers_of(name: str) -> tuple[str, ...]:
    """The tiers that a name on the command line means."""
    return ALL if name == "all" else (name,)


def environment_values(runner: Runner, target: Target) -> dict[str, str]:
    """What azd knows of the environment, outputs of the deployment among it; empty where there is none yet."""
    if runner.dry:
        return {}
    done = runner.query(["azd", "env", "get-values", "--environment", target.environment, "--output", "json"])
    return {} if done.returncode else {str(key): str(value) for key, value in json.loads(done.stdout or "{}").items()}


def value(values: dict[str, str], key: str) -> str:
    """One value; its name in angle brackets where it is not known yet, as in a dry run."""
    return values.get(key) or f"<{key}>"
