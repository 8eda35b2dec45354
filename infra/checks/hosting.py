"""Policies on what runs: one thread in the function, probes that the platform takes, tags that azd finds."""

from collections.abc import Collection, Sequence
from typing import Any

from infra.checks.templates import Template, walk

PROBE_LIMITS = {
    "initialDelaySeconds": (1, 60),
    "periodSeconds": (1, 240),
    "timeoutSeconds": (1, 240),
    "failureThreshold": (1, 10),
    "successThreshold": (1, 10),
}
FLEX_REFUSES = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_MAX_HTTP_CONCURRENCY",
    "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTOVERVNET",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_VNET_ROUTE_ALL",
}
"""App settings that Flex Consumption lists as replaced or not valid."""
UNTAGGED = {"Microsoft.Authorization/roleAssignments", "Microsoft.Insights/diagnosticSettings"}
SERVERLESS_GPU = "Consumption-GPU-"


def function_is_single_threaded(templates: Sequence[Template]) -> list[str]:
    """One request, one Python thread and one whole core on each instance, and no setting that Flex refuses."""
    findings = []
    for template in templates:
        for site in template.resources("Microsoft.Web/sites"):
            properties = template.resolve(site.body["properties"])
            scale = properties.get("functionAppConfig", {}).get("scaleAndConcurrency", {})
            if scale.get("triggers", {}).get("http", {}).get("perInstanceConcurrency") != 1:
                findings.append(f"{site.where}: perInstanceConcurrency is not 1")
            if template.default(scale.get("instanceMemoryMB")) != 2048:
                findings.append(f"{site.where}: instanceMemoryMB is not 2048 unless asked for, the size with one core")
            settings = named_settings(properties)
            if settings.get("PYTHON_THREADPOOL_THREAD_COUNT") != "1":
                findings.append(f"{site.where}: PYTHON_THREADPOOL_THREAD_COUNT is not '1'")
            findings += [
                f"{site.where}: Flex Consumption refuses {name}" for name in sorted(FLEX_REFUSES & set(settings))
            ]
    return findings


def probes_are_within_limits(templates: Sequence[Template]) -> list[str]:
    """Every container has startup, readiness and liveness probes, with figures that the platform accepts."""
    findings = []
    for template in templates:
        for app in template.resources("Microsoft.App/containerApps"):
            probes = [part for part in walk(template.resolve(app.body["properties"])) if "httpGet" in part]
            if missing := {"Startup", "Readiness", "Liveness"} - {probe.get("type") for probe in probes}:
                findings.append(f"{app.where} has no {', '.join(sorted(missing))} probe")
            for probe in probes:
                findings += [f"{app.where}: {probe['type']} {text}" for text in _beyond(template, probe)]
    return findings


def api_versions_agree(templates: Sequence[Template]) -> list[str]:
    """One pinned API version for each resource type, and modules that are files: both can be checked offline."""
    findings, seen = [], dict[str, tuple[str, str]]()
    for template in templates:
        for symbol, entry in template.tree.get("resources", {}).items():
            version, where = seen.setdefault(entry["type"], (entry["api_version"], f"{template.file}: {symbol}"))
            if version != entry["api_version"]:
                findings.append(
                    f"{template.file}: {symbol} is {entry['type']}@{entry['api_version']}, {where} is @{version}"
                )
        for name, module in template.tree.get("modules", {}).items():
            if module["type"] != "local":
                findings.append(f"{template.file}: module {name} is not a file")
    return findings


def everything_is_tagged(templates: Sequence[Template], services: Collection[str]) -> list[str]:
    """Tags by which azd finds its resource group, and each of its services on exactly one resource."""
    findings, found = [], list[str]()
    for template in templates:
        taggable = [r for r in template.resources() if r.type.count("/") == 1 and r.type not in UNTAGGED]
        findings += [f"{resource.where} has no tags" for resource in taggable if "tags" not in resource.body]
        for group in template.resources("Microsoft.Resources/resourceGroups"):
            if "azd-env-name" not in template.resolve(group.body.get("tags", {})):
                findings.append(f"{group.where} has no tag azd-env-name")
        named = [part.get("azd-service-name") for part in walk(template.tree)]
        found += [name for name in named if isinstance(name, str)]
    counts = {name: found.count(name) for name in {*services, *found}}
    findings += [
        f"azd-service-name '{name}' is on {counts[name]} resources, not on one"
        for name in services
        if counts[name] != 1
    ]
    findings += [
        f"azd-service-name '{name}' is no service of azure.yaml" for name in sorted(set(found) - set(services))
    ]
    return findings


def gpu_starts(templates: Sequence[Template]) -> list[str]:
    """Secure boot is off where the driver needs it, and serverless GPU profiles carry no counts."""
    findings = []
    for template in templates:
        for machines in template.resources("Microsoft.Compute/virtualMachineScaleSets"):
            profile = template.resolve(machines.body["properties"])
            firmware = [part for part in walk(profile) if "secureBootEnabled" in part]
            if not firmware or any(part["secureBootEnabled"] is not False for part in firmware):
                findings.append(f"{machines.where}: secure boot is not off")
            if not any("customData" in part for part in walk(profile)):
                findings.append(f"{machines.where} has no customData: nothing starts the service")
        for environment in template.resources("Microsoft.App/managedEnvironments"):
            for part in walk(template.resolve(environment.body["properties"])):
                kind = str(part.get("workloadProfileType", ""))
                serverless = kind == "gpuProfile" or kind.startswith((SERVERLESS_GPU, "Consumption"))
                if serverless and {"minimumCount", "maximumCount"} & set(part):
                    findings.append(f"{environment.where}: profile {part.get('name')} has counts, which are refused")
    return findings


def named_settings(node: Any) -> dict[str, Any]:
    """Every `{name, value}` below a value, as one mapping."""
    return {part["name"]: part["value"] for part in walk(node) if isinstance(part.get("name"), str) and "value" in part}


def _beyond(template: Template, probe: dict[str, Any]) -> list[str]:
    texts = []
    for key, (low, high) in PROBE_LIMITS.items():
        if key not in probe:
            continue
        figure = probe[key]
        least, most = (figure, figure) if isinstance(figure, int) else template.limits(figure) or (low - 1, high + 1)
        if least < low or most > high:
            texts.append(f"{key} is not within {low} and {high}")
    return texts
