"""What the templates set is read by someone, and what the code reads can be set."""

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tier_planner.objectives import Objectives

from infra.checks.hosting import named_settings
from infra.checks.templates import Template, walk

PREFIX = "INFERENCE_"
READERS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the Functions host",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "the Functions host",
    "ASPNETCORE_HTTP_PORTS": "the sample that holds the place of the first image",
    "AZURE_CLIENT_ID": "azure-identity, to choose the user-assigned identity",
    "AzureWebJobsStorage__blobServiceUri": "the Functions host",
    "AzureWebJobsStorage__clientId": "the Functions host",
    "AzureWebJobsStorage__credential": "the Functions host",
    "OMP_NUM_THREADS": "numpy's linear algebra",
    "PYTHON_THREADPOOL_THREAD_COUNT": "the Functions Python worker",
}
"""Settings that others read than our own code."""
HOLDERS = ("Microsoft.Web/sites", "Microsoft.App/containerApps", "Microsoft.App/jobs")


def settings_that_code_reads(root: Path) -> set[str]:
    """The fields of the settings classes, as the environment names them."""
    names = set()
    for path in sorted((root / "shared").glob("*/settings.py")):
        for settings in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(settings, ast.ClassDef):
                lines = [node for node in settings.body if isinstance(node, ast.AnnAssign)]
                names |= {PREFIX + line.target.id.upper() for line in lines if isinstance(line.target, ast.Name)}
    return names


def settings_are_read(templates: Sequence[Template], parameters: dict[str, Any], known: set[str]) -> list[str]:
    """Every setting that is set has a reader."""
    findings = []
    for template in templates:
        for resource in template.resources(*HOLDERS):
            names = set(named_settings(template.resolve(resource.body["properties"])))
            findings += [
                f"{resource.where} sets {name}, which nothing reads" for name in sorted(names - known - set(READERS))
            ]
    given = set(re.findall(r'"(INFERENCE_\w+)"', json.dumps(parameters)))
    findings += [f"main.parameters.json sets {name}, which settings.py does not read" for name in sorted(given - known)]
    return findings


def settings_can_be_set(templates: Sequence[Template]) -> list[str]:
    """Whatever runs takes an object of settings into its environment: each one that the code reads can be set."""
    findings = []
    for template in templates:
        for resource in template.resources(*HOLDERS):
            inside = template.resolve(resource.body["properties"])
            loops = [part["loop_type"]["detail"].get("array_name") for part in walk(inside) if "loop_type" in part]
            declared = "settings" in template.tree.get("parameters", {})
            if not (declared and any(_items_of_settings(loop) for loop in loops)):
                findings.append(f"{resource.where} takes no `settings`")
        for machines in template.resources("Microsoft.Compute/virtualMachineScaleSets"):
            text = str(template.resolve(template.tree.get("variables", {})))
            if "'arg_1': 'settings'" not in text:
                findings.append(f"{machines.where} takes no `settings`")
    return findings


def parameters_fit(main: Template, parameters: dict[str, Any], objectives: Objectives) -> list[str]:
    """The parameters file names parameters that exist, gives those without a default, and the bounds of slo.toml."""
    declared, given = main.tree["parameters"], parameters["parameters"]
    findings = [f"main.parameters.json: {name} is no parameter" for name in sorted(set(given) - set(declared))]
    findings += [
        f"main.parameters.json lacks {name}"
        for name, parameter in declared.items()
        if parameter.get("default") is None and name not in given
    ]
    for tier in ("function", "container"):
        text = str(given.get(f"{tier}BoundMs", {}).get("value"))
        bound = objectives.of_tier(tier).bound_ms
        if not re.fullmatch(rf"\$\{{\w+={bound:g}\}}", text):
            findings.append(f"main.parameters.json: {tier}BoundMs is {text}, slo.toml says {bound:g}")
    return findings


def _items_of_settings(array: Any) -> bool:
    return isinstance(array, dict) and array.get("function") == {"type": "items", "parameters": {"arg_1": "settings"}}
