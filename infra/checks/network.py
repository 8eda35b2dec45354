"""Policies on the network: nothing is reachable that is not meant to be."""

from collections.abc import Sequence
from typing import Any

from infra.checks.templates import Resource, Template, walk

GUARDED = {
    "Microsoft.Web/sites",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.ContainerRegistry/registries",
    "Microsoft.App/managedEnvironments",
}
"""What has a public side that private mode must close. Telemetry is not: only identities may send it."""
PUBLIC_IP_KEYS = {"publicIPAddress", "publicIPAddressConfiguration", "publicIPPrefix"}
OPEN_SOURCES = {"*", "Internet", "0.0.0.0/0"}


def subnets_are_guarded(templates: Sequence[Template]) -> list[str]:
    """Every subnet has a network security group, and no way out but those given to it."""
    findings = []
    for template in templates:
        for network in template.resources(
            "Microsoft.Network/virtualNetworks", "Microsoft.Network/virtualNetworks/subnets"
        ):
            properties = template.resolve(network.body["properties"])
            single = [{"name": network.symbol, "properties": properties}] if "addressPrefix" in properties else []
            for subnet in properties.get("subnets", single):
                inside, name = subnet["properties"], f"{network.where}: subnet {subnet['name']}"
                if "networkSecurityGroup" not in inside:
                    findings.append(f"{name} has no network security group")
                if inside.get("defaultOutboundAccess") is not False:
                    findings.append(f"{name}: defaultOutboundAccess is not false")
    return findings


def only_the_nat_gateway_has_a_public_address(templates: Sequence[Template]) -> list[str]:
    """Public addresses are made for NAT gateways and given to nothing else."""
    findings = []
    for template in templates:
        gateways = str([gateway.body for gateway in template.resources("Microsoft.Network/natGateways")])
        for address in template.resources("Microsoft.Network/publicIPAddresses", "Microsoft.Network/publicIPPrefixes"):
            given = f"'operand_1': '{address.symbol}'" in gateways
            findings += _unless(given, address, "is a public address of something else than a NAT gateway")
        for resource in template.resources():
            keys = PUBLIC_IP_KEYS & {key for part in walk(resource.body) for key in part}
            findings += _unless(not keys, resource, f"has {', '.join(sorted(keys))}")
    return findings


def only_https(templates: Sequence[Template]) -> list[str]:
    """No site, app or account takes plain HTTP, and none takes TLS older than 1.2."""
    findings = []
    for template in templates:
        for site in template.resources("Microsoft.Web/sites"):
            properties = template.resolve(site.body["properties"])
            config = properties.get("siteConfig", {})
            findings += _unless(properties.get("httpsOnly") is True, site, "httpsOnly is not true")
            findings += _unless(config.get("minTlsVersion") in {"1.2", "1.3"}, site, "minTlsVersion is not 1.2 or 1.3")
            findings += _unless(config.get("ftpsState") == "Disabled", site, "ftpsState is not Disabled")
        for account in template.resources("Microsoft.Storage/storageAccounts"):
            properties = account.body["properties"]
            tls = properties.get("minimumTlsVersion") in {"TLS1_2", "TLS1_3"}
            findings += _unless(tls, account, "minimumTlsVersion is not TLS1_2 or TLS1_3")
            https = properties.get("supportsHttpsTrafficOnly") is True
            findings += _unless(https, account, "supportsHttpsTrafficOnly is not true")
        for app in template.resources("Microsoft.App/containerApps"):
            ingress = template.resolve(app.body["properties"]["configuration"]).get("ingress", {"allowInsecure": False})
            findings += _unless(ingress.get("allowInsecure") is False, app, "ingress.allowInsecure is not false")
    return findings


def private_mode_is_closed(templates: Sequence[Template]) -> list[str]:
    """With `isPrivate` nothing takes a call from outside the virtual network, and each has a way in from inside."""
    findings = []
    for template in templates:
        for resource in template.resources(*GUARDED):
            properties = template.resolve(resource.body["properties"], isPrivate=True)
            closed = properties.get("publicNetworkAccess") == "Disabled"
            findings += _unless(closed, resource, "publicNetworkAccess is not Disabled in private mode")
            if resource.type == "Microsoft.Storage/storageAccounts":
                denied = properties.get("networkAcls", {}).get("defaultAction") == "Deny"
                findings += _unless(denied, resource, "networkAcls.defaultAction is not Deny in private mode")
            if resource.type == "Microsoft.App/managedEnvironments":
                internal = properties.get("vnetConfiguration", {}).get("internal") is True
                findings += _unless(internal, resource, "vnetConfiguration.internal is not true in private mode")
            else:
                findings += _unless(_has_endpoint(template), resource, "has no private endpoint in private mode")
        findings += _open_rules(template)
    return findings


def _open_rules(template: Template) -> list[str]:
    findings = []
    for group in template.resources("Microsoft.Network/networkSecurityGroups"):
        rules = template.resolve(group.body["properties"], isPrivate=True).get("securityRules", [])
        for rule in rules:
            inside = rule["properties"]
            opens = inside.get("access") == "Allow" and inside.get("direction") == "Inbound"
            if opens and inside.get("sourceAddressPrefix") in OPEN_SOURCES:
                findings.append(f"{group.where}: {rule['name']} lets the internet in in private mode")
    return findings


def _has_endpoint(template: Template) -> bool:
    if template.resources("Microsoft.Network/privateEndpoints"):
        return True
    modules: dict[str, Any] = template.tree.get("modules", {})
    return any(
        module["detail"]["path"].endswith("private-endpoint.bicep")
        and "isPrivate" in str(module["config"].get("condition"))
        for module in modules.values()
    )


def _unless(good: object, resource: Resource, finding: str) -> list[str]:
    return [] if good else [f"{resource.where}: {finding}"]
