from collections.abc import Callable

import pytest

from tests.infra.stand_in import Cloud

Infra = Callable[[str], int]
KEY = {"GPU_SSH_PUBLIC_KEY": "ssh-ed25519 AAAA"}


def test_a_subscription_in_order_passes_and_the_price_is_said(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.knows(**KEY)
    assert infra("preflight all --environment demo --location eastus") == 0
    told = capsys.readouterr().out
    assert "FAILED" not in told
    assert "422.05 USD a month without a request" in told
    assert cloud.calls(changing=True) == []


@pytest.mark.parametrize(
    ("call", "status", "reply", "found", "mend"),
    [
        ("az version", 0, '{"azure-cli": "2.40.0"}', "az: 2.40, at least 2.60 needed", "az upgrade"),
        ("azd version", 127, "not found", "azd: not found", "install it"),
        ("docker --version", 1, "no docker", "docker: no docker", "install it"),
        ("az account show --output", 1, "Please run 'az login'", "az login: not signed in", "az login"),
        ("azd auth login", 0, '{"status": "unauthenticated"}', "azd login: not signed in", "azd auth login"),
        (
            "az provider show --namespace Microsoft.App",
            0,
            "NotRegistered",
            "Microsoft.App: NotRegistered",
            "az provider register --namespace Microsoft.App --wait",
        ),
        ("az group show", 0, '{"location": "eastus", "tags": {}}', "exists and is not ours", "take another --env"),
        (
            "az group show",
            0,
            '{"location": "westus", "tags": {"azd-env-name": "demo"}}',
            "is ours, in westus",
            "take --location westus",
        ),
        (
            "az functionapp list-flexconsumption-locations",
            0,
            '["westus"]',
            "Flex Consumption: eastus does not have it",
            "az functionapp list-flexconsumption-locations",
        ),
        ("az vm list-skus", 0, "[]", "GPU size: Standard_NC4as_T4_v3 is not to be had in eastus", "az vm list-skus"),
        (
            "az vm list-usage",
            0,
            '[{"name": {"value": "StandardNCASv3_T4Family"}, "limit": 4, "currentValue": 0}]',
            "GPU quota: StandardNCASv3_T4Family: 4 of 8 cores free",
            "az quota update --resource-name StandardNCASv3_T4Family",
        ),
        ("az vm list-usage", 0, "[]", "0 of 8 cores free", "az quota update"),
        ("azd env get-values", 0, "{}", "SSH key: GPU_SSH_PUBLIC_KEY is not set", "azd env set GPU_SSH_PUBLIC_KEY"),
    ],
)
def test_each_failure_comes_with_its_mend(  # noqa: PLR0917
    infra: Infra,
    cloud: Cloud,
    capsys: pytest.CaptureFixture[str],
    call: str,
    status: int,
    reply: str,
    found: str,
    mend: str,
) -> None:
    cloud.knows(**KEY)
    cloud.rule(call, status, reply)
    assert infra("preflight all --environment demo --location eastus") == 1
    told = capsys.readouterr().out
    assert found in told
    assert f"mend: {mend}" in told
    assert "1 failed" in told


def test_what_cannot_be_asked_is_not_counted_as_good(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.rule("az functionapp list-flexconsumption-locations", 2, "unrecognized command")
    assert infra("preflight function --environment demo --location eastus") == 0
    told = capsys.readouterr().out
    assert "not run  Flex Consumption: not checked: unrecognized command" in told
    assert "0 failed, 1 not run" in told


def test_without_a_login_the_subscription_is_not_looked_at(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.rule("az account show --output", 1, "Please run 'az login'")
    assert infra("preflight function --environment demo") == 1
    assert "not run  subscription" in capsys.readouterr().out
    assert not [call for call in cloud.calls() if "provider" in call]


def test_the_subscription_that_was_asked_for_is_the_one_in_use(
    infra: Infra, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infra("preflight function --subscription other --location eastus") == 1
    assert "mend: az account set --subscription other" in capsys.readouterr().out


def test_spot_machines_have_a_quota_of_their_own(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.knows(**KEY, GPU_SPOT="true")
    assert infra("preflight gpu --environment demo --location eastus") == 1
    assert "lowPriorityCores: 0 of 8 cores free" in capsys.readouterr().out


def test_a_serverless_gpu_must_be_offered_in_the_region(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infra("preflight container-gpu --location eastus") == 0
    cloud.rule("az containerapp env workload-profile list-supported", 0, '["Consumption"]')
    assert infra("preflight container-gpu --location eastus") == 1
    assert "Consumption-GPU-NC8as-T4 is not offered in eastus" in capsys.readouterr().out
