"""Policies on who may do what: identities with least roles, and no key anywhere."""

import re
from collections.abc import Sequence
from typing import Any

from infra.checks.templates import Resource, Template, walk

MUST_BE = {
    "Microsoft.Storage/storageAccounts": {"allowSharedKeyAccess": False, "allowBlobPublicAccess": False},
    "Microsoft.ContainerRegistry/registries": {"adminUserEnabled": False, "anonymousPullEnabled": False},
    "Microsoft.Insights/components": {"DisableLocalAuth": True},
}
BROAD_ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
}
SECRET_WORDS = re.compile(r"key|secret|password|connection_?string|sas_?token", re.IGNORECASE)


def no_keys(templates: Sequence[Template]) -> list[str]:
    """Shared keys, admin users, local authentication and publishing by password are off; nothing reads a key."""
    findings = []
    for template in templates:
        for resource in template.resources(*MUST_BE):
            properties = resource.body["properties"]
            findings += [
                f"{resource.where}: {key} is not {str(value).lower()}"
                for key, value in MUST_BE[resource.type].items()
                if properties.get(key) is not value
            ]
        sites = template.resources("Microsoft.Web/sites")
        policies = template.resources("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
        if sites and not any(policy.body["properties"].get("allow") is False for policy in policies):
            findings.append(f"{sites[0].where}: publishing by password is not off")
        findings += [f"{template.file} calls {name}()" for name in _listing(template.tree)]
    return findings


def no_secrets_in_outputs(templates: Sequence[Template]) -> list[str]:
    """Outputs are kept in the deployment's history and in azd's environment file: none of them is a secret."""
    findings = []
    for template in templates:
        for name, output in template.tree.get("outputs", {}).items():
            read = [part["operator"]["operands"].get("operand_2") for part in walk({"_": output}) if "operator" in part]
            secret = SECRET_WORDS.search(name) or any(isinstance(r, str) and SECRET_WORDS.search(r) for r in read)
            if secret or _listing(output):
                findings.append(f"{template.file}: output {name} looks like a secret")
    return findings


def roles_are_least(templates: Sequence[Template]) -> list[str]:
    """Each role is given on one resource, to an identity of ours, and is none of the broad ones."""
    findings = []
    for template in templates:
        for role in template.resources("Microsoft.Authorization/roleAssignments"):
            properties = role.body["properties"]
            if "scope" not in role.body:
                findings.append(f"{role.where} is given on a whole group")
            if properties.get("principalType") != "ServicePrincipal":
                findings.append(f"{role.where}: principalType is not ServicePrincipal")
        text = str(template.tree)
        findings += [f"{template.file} gives {name}" for id_, name in BROAD_ROLES.items() if id_ in text]
    return findings


def scale_rules_have_an_identity(templates: Sequence[Template]) -> list[str]:
    """A rule that asks another service does so as an identity, not with a secret. HTTP rules ask nobody."""
    findings = []
    for template in templates:
        for resource in template.resources("Microsoft.App/containerApps", "Microsoft.App/jobs"):
            for rule in _rules(template, resource):
                inside = rule.get("custom") or rule.get("azureQueue") or (rule if "type" in rule else None)
                if inside is None:
                    continue
                if not inside.get("identity"):
                    findings.append(f"{resource.where}: scale rule {rule['name']} has no identity")
                if "auth" in inside:
                    findings.append(f"{resource.where}: scale rule {rule['name']} uses a secret")
    return findings


def _rules(template: Template, resource: Resource) -> list[dict[str, Any]]:
    """The scale rules, those of every branch of a condition."""
    properties = template.resolve(resource.body["properties"])
    scale = properties.get("template", {}).get("scale") or properties["configuration"]["eventTriggerConfig"]["scale"]
    return [
        part
        for part in walk(scale.get("rules", []))
        if "name" in part and {"custom", "azureQueue", "http", "type"} & set(part)
    ]


def _listing(node: Any) -> list[str]:
    """Functions below a value that hand out keys, called alone or on a resource."""
    parts = list(walk({"_": node}))
    names = [part["function"].get("type", "") for part in parts if isinstance(part.get("function"), dict)]
    names += [part["func_name"] for part in parts if isinstance(part.get("func_name"), str)]
    return [name for name in names if str(name).lower().startswith(("list", "getsecret"))]
