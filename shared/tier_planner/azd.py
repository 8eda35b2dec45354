"""The recommended option as the values that `infra/` takes: one `NAME=VALUE` a line, for `azd env set`."""

import math

from tier_planner.options import Plan
from tier_planner.recommend import Recommendation
from tier_planner.tables import TableError

WAITING = 1
"""Requests that may wait on a replica before another is started, beside those that it computes."""
GPU_FAMILIES = {"T4": "t4", "A10": "a10", "A100": "a100", "H100": "h100"}
_DEPLOYED = {"DEPLOY_FUNCTION": "function", "DEPLOY_CONTAINER": "container"}
_DEPLOYED |= {"DEPLOY_CONTAINER_GPU": "container-gpu", "DEPLOY_GPU": "gpu"}


def azd_values(found: Recommendation) -> dict[str, str]:
    """Names of `infra/main.parameters.json` and their values. Raises TableError where there is nothing to deploy."""
    chosen = found.chosen
    if chosen is None or chosen.plan is None:
        raise TableError("No option fits: there is nothing to deploy.")
    if chosen.hosting.tier == "client":
        raise TableError("The caller's browser needs no deployment: serve the model's file to it.")
    hosting, plan, requirement = chosen.hosting, chosen.plan, found.requirement
    values = {name: "true" if tier == hosting.tier else "false" for name, tier in _DEPLOYED.items()}
    values["NETWORK_MODE"] = "private" if requirement.vnet else "public"
    if requirement.region:
        values["AZURE_LOCATION"] = requirement.region
    return values | {
        "function": _function,
        "container": _container,
        "container-gpu": _container_gpu,
        "gpu": _gpu,
    }[hosting.tier](plan, math.ceil(requirement.bound_ms))


def azd_text(found: Recommendation) -> str:
    """The same as lines, with what infra does not take as a remark."""
    lines = [f"{name}={value}" for name, value in azd_values(found).items()]
    scale = found.chosen.plan.candidate.scale if found.chosen and found.chosen.plan else None
    if scale is not None:
        lines.append(f"# scale: callers ask with ?scale={scale:g}")
    return "\n".join(lines) + "\n"


def _function(plan: Plan, bound_ms: int) -> dict[str, str]:
    return {
        "FUNCTION_MEMORY_MB": f"{plan.candidate.hosting.memory_mib:.0f}",
        "FUNCTION_ALWAYS_READY": str(plan.replicas_min),
        "FUNCTION_INSTANCES_MAX": str(max(40, plan.replicas)),  # the platform takes no smaller value
        "FUNCTION_BOUND_MS": str(bound_ms),
        "FUNCTION_MODELS": plan.candidate.model,
    }


def _container(plan: Plan, bound_ms: int) -> dict[str, str]:
    hosting = plan.candidate.hosting
    return {
        "CONTAINER_CPU": f"{hosting.cores:g}",
        "CONTAINER_MEMORY": f"{hosting.memory_mib / 1024:g}Gi",
        "CONTAINER_PROFILE": hosting.size,
        "CONTAINER_REPLICAS_MIN": str(plan.replicas_min),
        "CONTAINER_REPLICAS_MAX": str(plan.replicas),
        "CONTAINER_CONCURRENCY": str(plan.candidate.slots + WAITING),
        "CONTAINER_THREADS": str(plan.candidate.threads),
        "CONTAINER_SLOTS": str(plan.candidate.slots),
        "CONTAINER_MODELS": plan.candidate.model,
        "CONTAINER_BOUND_MS": str(bound_ms),
    }


def _container_gpu(plan: Plan, _: int) -> dict[str, str]:
    return {
        "CONTAINER_GPU_PROFILE": plan.candidate.hosting.size,
        "CONTAINER_GPU_REPLICAS_MIN": str(plan.replicas_min),
        "CONTAINER_GPU_REPLICAS_MAX": str(plan.replicas),
        "CONTAINER_GPU_CONCURRENCY": str(plan.candidate.slots + WAITING),
        "GPU_MODELS": plan.candidate.model,
    }


def _gpu(plan: Plan, _: int) -> dict[str, str]:
    return {
        "GPU_FAMILY": GPU_FAMILIES[plan.candidate.hosting.gpu or ""],
        "GPU_SIZE": plan.candidate.hosting.size,
        "GPU_MACHINES_MIN": str(plan.replicas),
        "GPU_MACHINES_MAX": str(plan.replicas),
        "GPU_MODELS": plan.candidate.model,
    }
