"""Everything that can be known before a deployment starts. Each failure comes with the command that mends it."""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from tier_planner.prices import Prices

from infra.scripts.costs import idle_month
from infra.scripts.steps import Runner, say
from infra.scripts.target import Target, environment_values

LEAST_VERSIONS = {"az": (2, 60), "azd": (1, 11)}
INSTALL = {
    "az": "https://learn.microsoft.com/cli/azure/install-azure-cli",
    "azd": "https://learn.microsoft.com/azure/developer/azure-developer-cli/install-azd",
    "docker": "https://docs.docker.com/engine/install",
}
COMMON = (
    "Microsoft.Network",
    "Microsoft.Storage",
    "Microsoft.OperationalInsights",
    "Microsoft.Insights",
    "Microsoft.ManagedIdentity",
)
PROVIDERS = {
    "function": ("Microsoft.Web", "Microsoft.App"),  # Flex Consumption's subnet is delegated to Microsoft.App
    "container": ("Microsoft.App", "Microsoft.ContainerRegistry"),
    "container-gpu": ("Microsoft.App", "Microsoft.ContainerRegistry"),
    "gpu": ("Microsoft.Compute", "Microsoft.ContainerRegistry"),
}
GPU_SIZE = "Standard_NC4as_T4_v3"
GPU_PROFILE = "Consumption-GPU-NC8as-T4"


@dataclass(frozen=True)
class Found:
    """What one check found. `ok` is None where it could not be checked: that is never counted as good."""

    name: str
    ok: bool | None
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Preflight:
    """The checks of one deployment."""

    runner: Runner
    target: Target
    tiers: Collection[str]

    def found(self) -> list[Found]:
        """Run every check. Those that need a login are not run without one."""
        results = self._programs()
        login = self._login()
        results += login
        if self.runner.dry or all(result.ok for result in results):
            checks: list[Callable[[], list[Found]]] = [self._providers, self._name]
            checks += [self._flex_region] if "function" in self.tiers else []
            checks += [self._gpu_machines] if "gpu" in self.tiers else []
            checks += [self._gpu_profile] if "container-gpu" in self.tiers else []
            results += [result for check in checks for result in check()]
        else:
            results.append(Found("subscription", None, "not looked at: mend the above first"))
        return results

    def _programs(self) -> list[Found]:
        wanted = ["az", "azd", *(["docker"] if {"container", "container-gpu", "gpu"} & set(self.tiers) else [])]
        return [self._program(name) for name in wanted]

    def _program(self, name: str) -> Found:
        command = {
            "az": ["az", "version", "--output", "json"],
            "azd": ["azd", "version"],
            "docker": ["docker", "--version"],
        }
        done = self.runner.query(command[name])
        if done.returncode:
            return Found(
                name, False, done.stderr.strip()[-200:] or f"exit {done.returncode}", f"install it: {INSTALL[name]}"
            )
        pattern = r'"azure-cli": "(\d+)\.(\d+)' if name == "az" else r"(\d+)\.(\d+)"
        seen = re.search(pattern, done.stdout)
        version = (int(seen[1]), int(seen[2])) if seen else (0, 0)
        least = LEAST_VERSIONS.get(name, (0, 0))
        text = f"{version[0]}.{version[1]}, at least {least[0]}.{least[1]} needed"
        return Found(
            name, version >= least, text, "az upgrade" if name == "az" else f"install it again: {INSTALL[name]}"
        )

    def _login(self) -> list[Found]:
        account = self.runner.query(["az", "account", "show", "--output", "json"])
        # This one always exits with 0: its answer is what it writes.
        azd = self.runner.query(["azd", "auth", "login", "--check-status", "--output", "json"])
        known = '"success"' in azd.stdout
        found = [
            Found(
                "az login",
                not account.returncode,
                "signed in" if not account.returncode else "not signed in",
                "az login",
            ),
            Found(
                "azd login",
                known,
                "signed in" if known else "not signed in",
                "azd auth login",
            ),
        ]
        wanted = self.target.subscription
        if not account.returncode and wanted:
            current = json.loads(account.stdout)
            same = wanted in {current.get("id"), current.get("name")}
            found.append(
                Found("subscription", same, str(current.get("name")), f"az account set --subscription {wanted}")
            )
        return found

    def _providers(self) -> list[Found]:
        names = sorted({*COMMON, *(name for tier in self.tiers for name in PROVIDERS[tier])})
        return [self._provider(name) for name in names]

    def _provider(self, name: str) -> Found:
        query = ["--query", "registrationState", "--output", "tsv"]
        done = self.runner.query(["az", "provider", "show", "--namespace", name, *query])
        state = done.stdout.strip() or done.stderr.strip()[-200:]
        return Found(name, state == "Registered", state, f"az provider register --namespace {name} --wait")

    def _name(self) -> list[Found]:
        """Names of storage and registry hold 13 characters of a hash of subscription, environment and place: only the
        resource group can be taken.
        """
        group = self.target.group
        done = self.runner.query(["az", "group", "show", "--name", group, "--output", "json"])
        if done.returncode:
            free = "NotFound" in done.stderr or "could not be found" in done.stderr
            unknown = f"not checked: {done.stderr.strip()[-200:]}"
            return [Found("name", True, f"{group} is free") if free else Found("name", None, unknown, "az group list")]
        shown = json.loads(done.stdout)
        owner = (shown.get("tags") or {}).get("azd-env-name")
        if owner != self.target.environment:
            return [Found("name", False, f"{group} exists and is not ours", "take another --environment")]
        same = shown.get("location") == self.target.location
        return [
            Found(
                "name", same, f"{group} is ours, in {shown.get('location')}", f"take --location {shown.get('location')}"
            )
        ]

    def _flex_region(self) -> list[Found]:
        done = self.runner.query(
            ["az", "functionapp", "list-flexconsumption-locations", "--query", "[].name", "--output", "json"]
        )
        if done.returncode:
            return [Found("Flex Consumption", None, f"not checked: {done.stderr.strip()[-200:]}", "az upgrade")]
        names = {str(name).lower().replace(" ", "") for name in json.loads(done.stdout)}
        ok = self.target.location in names
        detail = f"{self.target.location} {'has' if ok else 'does not have'} it; its quota is not readable"
        return [Found("Flex Consumption", ok, detail, "az functionapp list-flexconsumption-locations --output table")]

    def _gpu_machines(self) -> list[Found]:
        values = environment_values(self.runner, self.target)
        size, machines = values.get("GPU_SIZE", GPU_SIZE), int(values.get("GPU_MACHINES_MAX", "2"))
        key = values.get("GPU_SSH_PUBLIC_KEY", "")
        set_key = (
            f'azd env set GPU_SSH_PUBLIC_KEY "$(cat ~/.ssh/id_ed25519.pub)" --environment {self.target.environment}'
        )
        found = [Found("SSH key", key.startswith("ssh-"), "given" if key else "GPU_SSH_PUBLIC_KEY is not set", set_key)]
        place = ["--location", self.target.location]
        listed = self.runner.query(
            ["az", "vm", "list-skus", *place, "--size", size, "--resource-type", "virtualMachines", "--output", "json"]
        )
        skus = [sku for sku in json.loads(listed.stdout or "[]") if sku.get("name") == size]
        if listed.returncode or not skus or skus[0].get("restrictions"):
            mend = f"az vm list-skus --size {size} --all --output table   # shows where it is to be had"
            return [*found, Found("GPU size", False, f"{size} is not to be had in {self.target.location}", mend)]
        cores = next(int(item["value"]) for item in skus[0]["capabilities"] if item["name"] == "vCPUs")
        spot = values.get("GPU_SPOT") == "true"
        return [*found, self._quota("lowPriorityCores" if spot else str(skus[0]["family"]), cores * machines)]

    def _quota(self, family: str, cores: int) -> Found:
        place = ["--location", self.target.location]
        done = self.runner.query(["az", "vm", "list-usage", *place, "--output", "json"])
        usage = {row["name"]["value"].lower(): row for row in json.loads(done.stdout or "[]")}
        row = usage.get(family.lower(), {"limit": 0, "currentValue": 0})
        free = int(row["limit"]) - int(row["currentValue"])
        subscription = "$(az account show --query id --output tsv)"
        scope = f"/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{self.target.location}"
        limit = int(row["currentValue"]) + cores
        wanted = f"--resource-name {family} --scope {scope} --limit-object value={limit}"
        mend = f"az quota update {wanted}   # az extension add --name quota"
        return Found("GPU quota", free >= cores, f"{family}: {free} of {cores} cores free", mend)

    def _gpu_profile(self) -> list[Found]:
        profile = environment_values(self.runner, self.target).get("CONTAINER_GPU_PROFILE", GPU_PROFILE)
        command = [
            "az",
            "containerapp",
            "env",
            "workload-profile",
            "list-supported",
            "--location",
            self.target.location,
        ]
        done = self.runner.query([*command, "--query", "[].name", "--output", "json"])
        if done.returncode:
            return [
                Found(
                    "serverless GPU",
                    None,
                    f"not checked: {done.stderr.strip()[-200:]}",
                    "az extension add --name containerapp",
                )
            ]
        ok = profile in json.loads(done.stdout)
        detail = f"{profile} is {'' if ok else 'not '}offered in {self.target.location}; its quota is not readable"
        return [Found("serverless GPU", ok, detail, f"{' '.join(command[:5])} --location OTHER --output table")]


def preflight(runner: Runner, target: Target, tiers: Collection[str], prices: Prices) -> int:
    """Say what was found and what it will cost; 0 where nothing failed."""
    if runner.dry:
        Preflight(runner, target, tiers).found()
        return 0
    results = Preflight(runner, target, tiers).found()
    for result in results:
        word = {True: "ok", False: "FAILED", None: "not run"}[result.ok]
        say(f"  {word:8} {result.name}: {result.detail}")
        if not result.ok and result.mend:
            say(f"           mend: {result.mend}")
    private = environment_values(runner, target).get("NETWORK_MODE") == "private"
    lines = idle_month(prices, tiers, private=private)
    parts = "; ".join(f"{line.what} {line.usd:.2f}" for line in lines) or "nothing that is charged by the hour"
    say(f"  price    {sum(line.usd for line in lines):.2f} USD a month without a request ({parts})")
    failed = sum(result.ok is False for result in results)
    say(f"  {failed} failed, {sum(result.ok is None for result in results)} not run, of {len(results)}")
    return 1 if failed else 0
