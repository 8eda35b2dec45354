import re
from collections.abc import Callable

import pytest

from tests.infra.stand_in import Cloud

Infra = Callable[[str], int]
DEPLOYED = {
    "DEPLOY_FUNCTION": "true",
    "DEPLOY_CONTAINER": "false",
    "DEPLOY_CONTAINER_GPU": "false",
    "DEPLOY_GPU": "false",
    "AZURE_CONTAINER_REGISTRY_NAME": "crx",
    "AZURE_CONTAINER_REGISTRY_ENDPOINT": "crx.azurecr.io",
    "FUNCTION_NAME": "func-x",
    "FUNCTION_URL": "https://func-x",
    "CONTAINER_URL": "https://ca-x",
}


def test_a_new_environment_gets_the_tier_that_was_asked_for_and_no_other(infra: Infra, cloud: Cloud) -> None:
    assert infra("deploy function --environment demo --location eastus") == 0
    assert cloud.calls(changing=True) == [
        "azd env new demo --location eastus --subscription 1 --no-prompt",
        "azd env set DEPLOY_FUNCTION true --environment demo",
        "azd env set DEPLOY_CONTAINER false --environment demo",
        "azd env set DEPLOY_CONTAINER_GPU false --environment demo",
        "azd env set DEPLOY_GPU false --environment demo",
        "azd provision --no-prompt --environment demo",
        "azd deploy function --no-prompt --environment demo",
    ]


def test_deploying_again_sets_nothing_twice(infra: Infra, cloud: Cloud) -> None:
    cloud.knows(**DEPLOYED)
    for _ in range(2):
        cloud.forget()
        assert infra("deploy function --environment demo") == 0
        assert cloud.calls(changing=True) == [
            "azd provision --no-prompt --environment demo",
            "azd deploy function --no-prompt --environment demo",
        ]
    assert any(call.startswith("curl") and "https://func-x/v2/health/ready" in call for call in cloud.calls())


def test_a_second_tier_leaves_the_first_where_it_is(infra: Infra, cloud: Cloud) -> None:
    cloud.knows(**DEPLOYED)
    assert infra("deploy container --environment demo") == 0
    assert [call for call in cloud.calls() if "env set" in call] == [
        "azd env set DEPLOY_CONTAINER true --environment demo"
    ]


@pytest.mark.parametrize(
    ("failing", "output", "step", "mend"),
    [
        ("azd env new", "AADSTS50076", "environment", "az login && azd auth login"),
        ("azd env set", "disk full", "flag-function", "azd env list"),
        (
            "azd provision",
            "The subscription is not registered to use namespace 'Microsoft.App'",
            "provision",
            "az provider register --namespace Microsoft.App --wait",
        ),
        ("azd provision", "QuotaExceeded", "provision", "python -m infra preflight"),
        ("azd provision", "something new", "provision", "python -m infra preflight --environment demo"),
        ("azd deploy function", "no zip", "deploy-function", "azd package function --environment demo"),
        ("curl", "timed out", "ready-function", "az monitor app-insights query"),
    ],
)
def test_a_failed_step_names_itself_and_its_mend_and_is_resumed(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str], failing: str, output: str, step: str, mend: str
) -> None:
    cloud.rule(failing, 1, output)
    assert infra("deploy function --environment demo") == 1
    told = capsys.readouterr().err
    assert f"step '{step}' failed (exit 1)" in told
    assert f"mend:   {mend}" in told
    assert cloud.calls()[-1].startswith(failing), "nothing runs after the failed step"
    before = cloud.calls(changing=True)

    cloud.rule(failing, 0, "")
    cloud.forget()
    resume = re.search(r"resume: python -m infra (.*)", told)
    assert resume is not None
    assert infra(resume[1]) == 0
    changing = cloud.calls(changing=True)
    assert "azd deploy function --no-prompt --environment demo" in {*before, *changing}
    assert cloud.calls()[0 if failing == "curl" else -1]
    skipped = before if failing == "curl" else before[:-1]
    assert not set(changing) & set(skipped), "finished steps are not run again"


def test_resuming_from_a_step_that_does_not_exist_is_refused(infra: Infra, capsys: pytest.CaptureFixture[str]) -> None:
    assert infra("deploy function --from nowhere") == 2
    assert "there is no such step" in capsys.readouterr().err


def test_the_placeholder_gives_way_in_a_second_provision_which_comes_once(infra: Infra, cloud: Cloud) -> None:
    cloud.knows(**DEPLOYED)
    assert infra("deploy container --environment demo") == 0
    provision = "azd provision --no-prompt --environment demo"
    assert cloud.calls(changing=True)[-2:] == ["azd deploy container --no-prompt --environment demo", provision]
    cloud.forget()
    cloud.knows(**DEPLOYED, SERVICE_CONTAINER_IMAGE_NAME="crx.azurecr.io/container:1")
    assert infra("deploy container --environment demo") == 0
    assert cloud.calls(changing=True).count(provision) == 1
    cloud.forget()
    assert infra("deploy container --environment demo --from provision-container") == 0
    assert cloud.calls(changing=True) == [provision]


def test_a_dry_run_prints_every_command_and_runs_none(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("preflight", "deploy all", "deploy container-gpu", "what-if", "loadtest function", "destroy"):
        assert infra(f"{line} --environment demo --dry-run") == 0
    assert cloud.calls() == []
    shown = capsys.readouterr().out
    for command in (
        "az account show",
        "azd provision --no-prompt --environment demo",
        "azd provision --preview --no-prompt --environment demo",
        "azd deploy container",
        "docker push",
        "az vm run-command invoke",
        "azd env set GPU_IMAGE",
        "loadtest/function_load.py --headless --host",
        "azd down --force --purge",
    ):
        assert command in shown


def test_the_gpu_image_is_pushed_and_every_machine_takes_it(infra: Infra, cloud: Cloud) -> None:
    cloud.knows(**DEPLOYED, GPU_SSH_PUBLIC_KEY="ssh-ed25519 AAAA")
    assert infra("deploy gpu --environment demo") == 0
    assert cloud.calls(changing=True)[-6:] == [
        "azd provision --no-prompt --environment demo",
        "docker build --platform linux/amd64 --file vm-gpu/Dockerfile --tag crx.azurecr.io/gpu-api:latest .",
        "az acr login --name crx",
        "docker push crx.azurecr.io/gpu-api:latest",
        *(
            f"az vm run-command invoke --resource-group rg-demo --name {machine} --command-id RunShellScript "
            "--scripts systemctl restart --no-block gpu-api"
            for machine in ("gpu_1", "gpu_2")
        ),
    ]


def test_a_serverless_gpu_gets_its_image_in_a_second_provision(infra: Infra, cloud: Cloud) -> None:
    cloud.knows(**DEPLOYED, CONTAINER_GPU_URL="https://ca-gpu-x")
    assert infra("deploy container-gpu --environment demo") == 0
    assert cloud.calls(changing=True)[-3:] == [
        "docker push crx.azurecr.io/gpu-api:latest",
        "azd env set GPU_IMAGE crx.azurecr.io/gpu-api@sha256:12ab --environment demo",
        "azd provision --no-prompt --environment demo",
    ]


def test_private_endpoints_are_not_asked_from_outside(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.knows(**DEPLOYED, NETWORK_MODE="private")
    assert infra("deploy function --environment demo") == 0
    assert not [call for call in cloud.calls() if call.startswith("curl")]
    assert "only reachable inside the virtual network" in capsys.readouterr().out


def test_nothing_is_deployed_where_the_preflight_fails(infra: Infra, cloud: Cloud) -> None:
    cloud.rule("az provider show", 0, "NotRegistered")
    assert infra("deploy function --environment demo") == 1
    assert cloud.calls(changing=True) == []


def test_what_if_deploys_nothing(infra: Infra, cloud: Cloud) -> None:
    cloud.knows(**DEPLOYED)
    assert infra("what-if function --environment demo") == 0
    assert cloud.calls(changing=True) == ["azd provision --preview --no-prompt --environment demo"]


def test_destroying_must_be_meant(infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert infra("destroy --environment demo") == 2
    assert "--yes" in capsys.readouterr().err
    assert cloud.calls() == []


def test_destroying_what_is_not_there_is_done(infra: Infra, cloud: Cloud) -> None:
    assert infra("destroy --environment demo --yes") == 0
    assert cloud.calls(changing=True) == []


def test_destroying_says_when_something_is_left(infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.rule("az group exists", 0, "true")
    assert infra("destroy --environment demo --yes") == 1
    assert "azd down --force --purge --no-prompt --environment demo" in cloud.calls()
    assert "mend:   az group delete --name rg-demo --yes" in capsys.readouterr().err


def test_a_missing_program_is_named(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (cloud.folder / "azd").unlink()
    monkeypatch.setenv("PATH", str(cloud.folder))
    assert infra("deploy function --environment demo --skip-preflight") == 1
    assert "step 'environment' failed (exit 127)" in capsys.readouterr().err
