"""Deploy one tier or all of them. Every step may be run again; a run that failed is resumed where it stopped."""

from collections.abc import Sequence

from infra.scripts.steps import Runner, say
from infra.scripts.target import FLAGS, URLS, Target, environment_values, value

PREFLIGHT = "python -m infra preflight"


def deploy(runner: Runner, target: Target, tiers: Sequence[str]) -> int:
    """Provision what the tiers need, bring their code there, ask whether they are ready. Raises StepError."""
    say(f"Deploying {', '.join(tiers)} to {target.group}")
    known = _choose(runner, target, tiers)
    _provision(runner, target, "provision")
    for tier in tiers:
        if tier in {"function", "container"}:
            runner.step(
                f"deploy-{tier}",
                ["azd", "deploy", tier, "--no-prompt", "--environment", target.environment],
                f"azd package {tier} --environment {target.environment}   # shows whether building or uploading fails",
            )
    if {"gpu", "container-gpu"} & set(tiers):
        _push_gpu_image(runner, target)
    # azd changes the app's image alone. The probes come when the placeholder goes; a job's image is the template's.
    placeholder = not known.get("SERVICE_CONTAINER_IMAGE_NAME") or runner.start == "provision-container"
    if "container" in tiers and (placeholder or known.get("DEPLOY_JOB") == "true"):
        _provision(runner, target, "provision-container")
    if "container-gpu" in tiers:
        _set(runner, target, "GPU_IMAGE", _pushed_image(runner, target), step="image-container-gpu")
        _provision(runner, target, "provision-container-gpu")
    if "gpu" in tiers:
        _restart_machines(runner, target)
    _ask_whether_ready(runner, target, tiers)
    runner.finish()
    return 0


def what_if(runner: Runner, target: Target, tiers: Sequence[str]) -> int:
    """Show what a deployment would change; the environment's flags are set, nothing else is."""
    _choose(runner, target, tiers)
    command = ["azd", "provision", "--preview", "--no-prompt", "--environment", target.environment]
    runner.step("preview", command, f"{PREFLIGHT} --environment {target.environment} --location {target.location}")
    runner.finish()
    return 0


def _choose(runner: Runner, target: Target, tiers: Sequence[str]) -> dict[str, str]:
    """Make the environment where there is none, and raise the flags of these tiers. Others stay as they were; where
    nobody has said anything of them they are not deployed. Answers with what was known before.
    """
    known = environment_values(runner, target)
    if not known:
        ask = ["az", "account", "show", "--query", "id", "--output", "tsv"]
        subscription = target.subscription or runner.ask(ask, "<SUBSCRIPTION>")
        place = ["--location", target.location, "--subscription", subscription]
        runner.step("environment", ["azd", "env", "new", target.environment, *place, "--no-prompt"], "azd auth login")
    for tier, flag in FLAGS.items():
        wanted = "true" if tier in tiers else known.get(flag, "false")
        if known.get(flag) != wanted:
            _set(runner, target, flag, wanted, step=f"flag-{tier}")
    return known


def _set(runner: Runner, target: Target, key: str, text: str, *, step: str) -> None:
    command = ["azd", "env", "set", key, text, "--environment", target.environment]
    runner.step(step, command, "azd env list")


def _provision(runner: Runner, target: Target, step: str) -> None:
    command = ["azd", "provision", "--no-prompt", "--environment", target.environment]
    runner.step(step, command, f"{PREFLIGHT} --environment {target.environment} --location {target.location}")


def _push_gpu_image(runner: Runner, target: Target) -> None:
    values = environment_values(runner, target)
    image = f"{value(values, 'AZURE_CONTAINER_REGISTRY_ENDPOINT')}/gpu-api:latest"
    build = ["docker", "build", "--platform", "linux/amd64", "--file", "vm-gpu/Dockerfile", "--tag", image, "."]
    runner.step("build-gpu", build, "docker info")
    # Signing in right before the push: a token lasts three hours, a build may be repeated for longer.
    login = ["az", "acr", "login", "--name", value(values, "AZURE_CONTAINER_REGISTRY_NAME")]
    runner.step("login-registry", login, "az login")
    runner.step("push-gpu", ["docker", "push", image], shell_line(login))


def _pushed_image(runner: Runner, target: Target) -> str:
    """The image by its digest: by its tag, an app would not notice that it is a new one."""
    values = environment_values(runner, target)
    name = value(values, "AZURE_CONTAINER_REGISTRY_NAME")
    command = ["az", "acr", "repository", "show", "--name", name, "--image", "gpu-api:latest"]
    digest = runner.ask([*command, "--query", "digest", "--output", "tsv"], "<DIGEST>")
    return f"{value(values, 'AZURE_CONTAINER_REGISTRY_ENDPOINT')}/gpu-api@{digest}"


def _restart_machines(runner: Runner, target: Target) -> None:
    """Machines pull the image when their service starts; those that run already are told to."""
    query = "[?virtualMachineScaleSet != null].name"
    listed = runner.ask(
        ["az", "vm", "list", "--resource-group", target.group, "--query", query, "--output", "tsv"], "<MACHINE>"
    )
    for machine in listed.split():
        command = ["az", "vm", "run-command", "invoke", "--resource-group", target.group, "--name", machine]
        script = ["--command-id", "RunShellScript", "--scripts", "systemctl restart --no-block gpu-api"]
        runner.step(
            f"restart-{machine}", [*command, *script], f"az vm list --resource-group {target.group} --show-details"
        )


def _ask_whether_ready(runner: Runner, target: Target, tiers: Sequence[str]) -> None:
    values = environment_values(runner, target)
    for tier in tiers:
        url = f"{value(values, URLS[tier])}/v2/health/ready"
        if tier == "gpu" or values.get("NETWORK_MODE") == "private":
            say(f"  ready-{tier}: not asked, only reachable inside the virtual network: curl --fail {url}")
            continue
        patience = ["--retry", "12", "--retry-delay", "10", "--retry-all-errors", "--max-time", "60"]
        command = ["curl", "--fail", "--silent", "--show-error", *patience, url]
        runner.step(f"ready-{tier}", command, log_command(tier, target))


def log_command(tier: str, target: Target) -> str:
    """The command that shows why a tier is not ready."""
    if tier == "function":
        component = f"az monitor app-insights component show --resource-group {target.group} --query [0].appId"
        query = "--analytics-query 'AppTraces | take 50'"
        return f"az monitor app-insights query --apps $({component} --output tsv) {query}"
    name = "$(az containerapp list --query [0].name --output tsv)"
    return f"az containerapp logs show --type system --resource-group {target.group} --name {name}"


def shell_line(command: Sequence[str]) -> str:
    """A command of ours, none of which needs quotes, as typed."""
    return " ".join(command)
