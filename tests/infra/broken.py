"""How each policy is broken: one change to one of our templates, and what must be found then."""

from collections.abc import Callable, Sequence

from infra.checks import hosting, identity, network, settings
from infra.checks.templates import Template

Policy = Callable[[Sequence[Template]], list[str]]
GUID_OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"

# policy, file, what is taken away, what is put in its place, what must be found
BROKEN: list[tuple[Policy, str, str, str, str]] = [
    (
        network.subnets_are_guarded,
        "network",
        "networkSecurityGroup: { id: gpuNsg.id }",
        "",
        "gpu has no network security",
    ),
    (
        network.subnets_are_guarded,
        "network",
        "defaultOutboundAccess: false",
        "defaultOutboundAccess: true",
        "defaultOutboundAccess is not false",
    ),
    (
        network.only_the_nat_gateway_has_a_public_address,
        "network",
        "publicIpAddresses: [{ id: natIp.id }]",
        "",
        "natIp: is a public address of something else",
    ),
    (
        network.only_the_nat_gateway_has_a_public_address,
        "gpu-vm",
        "loadBalancerBackendAddressPools:",
        "publicIPAddressConfiguration: { name: 'x' }\n                    loadBalancerBackendAddressPools:",
        "machines: has publicIPAddressConfiguration",
    ),
    (network.only_https, "function", "httpsOnly: true", "httpsOnly: false", "httpsOnly is not true"),
    (network.only_https, "function", "minTlsVersion: '1.2'", "minTlsVersion: '1.1'", "minTlsVersion is not"),
    (network.only_https, "function", "ftpsState: 'Disabled'", "ftpsState: 'AllAllowed'", "ftpsState is not Disabled"),
    (network.only_https, "storage", "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1_0'", "minimumTlsVersion"),
    (network.only_https, "storage", "supportsHttpsTrafficOnly: true", "", "supportsHttpsTrafficOnly is not true"),
    (network.only_https, "container-app", "allowInsecure: false", "allowInsecure: true", "allowInsecure is not false"),
    *(
        (
            network.private_mode_is_closed,
            file,
            "publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'",
            "publicNetworkAccess: isPrivate ? 'Enabled' : 'Disabled'",
            "publicNetworkAccess is not Disabled in private mode",
        )
        for file in ("function", "storage", "registry", "container-environment")
    ),
    (network.private_mode_is_closed, "storage", "isPrivate ? 'Deny' : 'Allow'", "'Allow'", "defaultAction is not Deny"),
    (
        network.private_mode_is_closed,
        "container-environment",
        "internal: isPrivate",
        "internal: false",
        "internal is not",
    ),
    (
        network.private_mode_is_closed,
        "registry",
        "'private-endpoint.bicep' = if (isPrivate)",
        "'x.bicep' =",
        "no private",
    ),
    (
        network.private_mode_is_closed,
        "network",
        "securityRules: isPrivate ? [] : [",
        "securityRules: [",
        "lets the internet",
    ),
    (identity.no_keys, "storage", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "allowSharedKeyAccess"),
    (identity.no_keys, "storage", "allowBlobPublicAccess: false", "", "allowBlobPublicAccess is not false"),
    (
        identity.no_keys,
        "registry",
        "adminUserEnabled: false",
        "adminUserEnabled: true",
        "adminUserEnabled is not false",
    ),
    (
        identity.no_keys,
        "monitoring",
        "DisableLocalAuth: true",
        "DisableLocalAuth: false",
        "DisableLocalAuth is not true",
    ),
    (
        identity.no_keys,
        "function",
        "properties: { allow: false }",
        "properties: { allow: true }",
        "by password is not off",
    ),
    (
        identity.no_keys,
        "function",
        "value: identity.outputs.clientId",
        "value: listKeys(plan.id, '2024-11-01').key",
        "calls list",
    ),
    (
        identity.no_secrets_in_outputs,
        "monitoring",
        "output workspaceId string = workspace.id",
        "output telemetry string = insights.properties.ConnectionString",
        "output telemetry looks like a secret",
    ),
    (
        identity.no_secrets_in_outputs,
        "storage",
        "output name string = account.name",
        "output name string = account.listKeys().keys[0].value",
        "output name looks like a secret",
    ),
    (identity.roles_are_least, "identity", "  scope: registry\n", "", "pullRole is given on a whole group"),
    (identity.roles_are_least, "identity", "'ServicePrincipal'", "'User'", "principalType is not ServicePrincipal"),
    (identity.roles_are_least, "identity", "7f951dda-4ed3-4680-a7ca-43fe172d538d", GUID_OWNER, "gives Owner"),
    (
        identity.scale_rules_have_an_identity,
        "container-app",
        "      identity: identityId\n    }\n  }\n]",
        "    }\n  }\n]",
        "scale rule jobs has no identity",
    ),
    (
        identity.scale_rules_have_an_identity,
        "container-job",
        "              identity: identityId\n            }\n          ]",
        "              auth: [{ secretRef: 'x', triggerParameter: 'connection' }]\n            }\n          ]",
        "scale rule jobs uses a secret",
    ),
    (
        hosting.function_is_single_threaded,
        "function",
        "perInstanceConcurrency: 1",
        "perInstanceConcurrency: 16",
        "perInstanceConcurrency is not 1",
    ),
    (hosting.function_is_single_threaded, "function", "memoryMb int = 2048", "memoryMb int = 4096", "one core"),
    (
        hosting.function_is_single_threaded,
        "function",
        "'PYTHON_THREADPOOL_THREAD_COUNT', value: '1'",
        "'PYTHON_THREADPOOL_THREAD_COUNT', value: '4'",
        "is not '1'",
    ),
    (
        hosting.function_is_single_threaded,
        "function",
        "'OMP_NUM_THREADS'",
        "'FUNCTIONS_WORKER_PROCESS_COUNT'",
        "Flex Consumption refuses FUNCTIONS_WORKER_PROCESS_COUNT",
    ),
    (
        hosting.probes_are_within_limits,
        "container-app",
        "failureThreshold: 10",
        "failureThreshold: 30",
        "Startup failureThreshold is not within 1 and 10",
    ),
    (hosting.probes_are_within_limits, "container-app", "type: 'Liveness'", "type: 'Startup'", "has no Liveness probe"),
    (
        hosting.probes_are_within_limits,
        "container-app",
        "@minValue(1)\n@maxValue(240)\nparam startupPeriodSeconds",
        "param startupPeriodSeconds",
        "Startup periodSeconds is not within",
    ),
    (
        hosting.api_versions_agree,
        "container-job",
        "Microsoft.App/jobs@2025-07-01",
        "Microsoft.App/containerApps@2024-03-01",
        "containerApps@2024-03-01, modules/container-app.bicep: app is @2025-07-01",
    ),
    (hosting.gpu_starts, "gpu-vm", "secureBootEnabled: false", "secureBootEnabled: true", "secure boot is not off"),
    (hosting.gpu_starts, "gpu-vm", "customData: base64(cloudInit)", "", "has no customData"),
    (
        hosting.gpu_starts,
        "container-environment",
        "workloadProfileType: gpuProfile }",
        "workloadProfileType: gpuProfile, minimumCount: 0 }",
        "profile gpu has counts",
    ),
    (
        settings.settings_can_be_set,
        "container-app",
        "env: concat(platformVariables, inferenceVariables)",
        "env: platformVariables",
        "takes no `settings`",
    ),
    (settings.settings_can_be_set, "gpu-vm", "items(settings)", "items({})", "takes no `settings`"),
]
