"""azure.yaml and the workflows, by the rules of those who read them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HOOKS = {f"{when}{event}" for when in ("pre", "post") for event in ("deploy", "restore", "build", "package", "publish")}
HOOK_KEYS = {"shell", "run", "continueOnError", "interactive", "windows", "posix", "secrets", "kind", "dir"}
DOCKER_KEYS = {
    "path",
    "context",
    "platform",
    "target",
    "registry",
    "image",
    "tag",
    "buildArgs",
    "network",
    "remoteBuild",
}
NOT_FOR = {
    "function": {"image", "docker", "k8s", "apiVersion", "env"},
    "containerapp": {"k8s", "remoteBuild"},
}
"""What azd's schema (v1.0, 2026) forbids a service of each host to have."""
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@v\d+(\.\d+)*$")


def azure_yaml(root: Path) -> dict[str, Any]:
    """What azd is told."""
    document: dict[str, Any] = yaml.safe_load((root / "azure.yaml").read_text(encoding="utf-8"))
    return document


def azure_yaml_fits(document: Mapping[str, Any], root: Path) -> list[str]:
    """The parts of azd's schema that this file touches, and that every path in it leads somewhere."""
    findings = []
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", str(document.get("name", ""))):
        findings.append("name must be lower case letters, digits and hyphens")
    for name, service in document.get("services", {}).items():
        findings += [f"services.{name}: {text}" for text in _service(service, root)]
    infra = document.get("infra", {})
    if not (root / infra.get("path", "infra") / f"{infra.get('module', 'main')}.bicep").is_file():
        findings.append("infra: there is no such template")
    return findings


def _service(service: Mapping[str, Any], root: Path) -> list[str]:
    host = service.get("host")
    if host not in NOT_FOR:
        return [f"host is {host!r}: must be function or containerapp"]
    findings = [f"{key} is not for host {host}" for key in sorted(NOT_FOR[host] & set(service))]
    if ("project" in service) == (host == "containerapp" and "image" in service):
        findings.append("exactly one of project and image is needed")
    folder = root / str(service.get("project", "."))
    docker = service.get("docker", {})
    findings += [f"docker.{key} is unknown" for key in sorted(set(docker) - DOCKER_KEYS)]
    if "path" in docker and not (folder / docker["path"]).is_file():
        findings.append(f"docker.path: there is no {docker['path']}")
    for event, hook in service.get("hooks", {}).items():
        if event not in HOOKS:
            findings.append(f"hooks.{event} is no event of a service")
        findings += [f"hooks.{event}.{key} is unknown" for key in sorted(set(hook) - HOOK_KEYS)]
        script = folder / str(hook.get("run", ""))
        if not (script.is_file() and script.stat().st_mode & 0o100):
            findings.append(f"hooks.{event}: {hook.get('run')} is no executable file in {service.get('project')}")
    if host == "function" and service.get("remoteBuild") is not False:
        findings.append("remoteBuild must be false: the package carries its wheels")
    if service.get("language") == "python" and not (folder / "requirements.txt").is_file():
        findings.append("azd installs requirements.txt before it packages Python, and there is none")
    return findings


def workflows_are_modest(folder: Path) -> list[str]:
    """Each workflow asks for reading alone at the top, and names the major version of every action."""
    findings = []
    for path in sorted(folder.glob("*.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if document.get("permissions") != {"contents": "read"}:
            findings.append(f"{path.name}: permissions is not `contents: read`")
        for name, job in document["jobs"].items():
            if "timeout-minutes" not in job:
                findings.append(f"{path.name}: job {name} has no timeout-minutes")
            used = [step["uses"] for step in job.get("steps", []) if "uses" in step]
            findings += [
                f"{path.name}: {action} is not pinned to a version" for action in used if not PINNED.match(action)
            ]
    return findings
