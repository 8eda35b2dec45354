"""Run every check and say what came of it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tier_planner.objectives import read_objectives

from infra.checks import hosting, identity, network, project, settings
from infra.checks.outcome import FAILED, NOT_RUN, PASSED, Outcome, judged
from infra.checks.templates import Template, read_templates
from infra.checks.tools import Tools
from infra.scripts.steps import say

Policy = Callable[[Sequence[Template]], list[str]]
POLICIES: tuple[Policy, ...] = (
    network.subnets_are_guarded,
    network.only_the_nat_gateway_has_a_public_address,
    network.only_https,
    network.private_mode_is_closed,
    identity.no_keys,
    identity.no_secrets_in_outputs,
    identity.roles_are_least,
    identity.scale_rules_have_an_identity,
    hosting.function_is_single_threaded,
    hosting.probes_are_within_limits,
    hosting.api_versions_agree,
    hosting.gpu_starts,
    settings.settings_can_be_set,
)


def check(root: Path, environ: Mapping[str, str]) -> int:
    """Every check; 1 where one failed. One that could not run is said, and counts for nothing."""
    outcomes = [*policy_outcomes(root), *Tools(root, environ).outcomes()]
    for outcome in outcomes:
        say(f"{outcome.state:8} {outcome.name}{': ' if outcome.detail else ''}{outcome.detail}")
        for finding in outcome.findings:
            say(f"           {finding}")
    counts = Counter(outcome.state for outcome in outcomes)
    say(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[NOT_RUN]} not run, of {len(outcomes)}")
    return 1 if counts[FAILED] else 0


def policy_outcomes(root: Path) -> list[Outcome]:
    """Our own policies, over the templates, azure.yaml and the workflows."""
    try:
        templates = read_templates(root / "infra")
    except ValueError as error:
        return [judged("templates parse", [str(error)])]
    main = next(template for template in templates if template.file == "main.bicep")
    parameters = json.loads((root / "infra" / "main.parameters.json").read_text(encoding="utf-8"))
    azd = project.azure_yaml(root)
    known = settings.settings_that_code_reads(root)
    objectives = read_objectives(root / "shared" / "config" / "slo.toml")
    count = sum(len(template.resources()) for template in templates)
    return [
        judged(
            "templates parse", [] if count else ["there are no resources"], f"{len(templates)} files, {count} resources"
        ),
        *(judged(_said(policy.__name__), policy(templates)) for policy in POLICIES),
        judged("everything is tagged", hosting.everything_is_tagged(templates, azd["services"])),
        judged("settings are read", settings.settings_are_read(templates, parameters, known)),
        judged("parameters fit", settings.parameters_fit(main, parameters, objectives)),
        judged("azure.yaml fits", project.azure_yaml_fits(azd, root)),
        judged("workflows are modest", project.workflows_are_modest(root / ".github" / "workflows")),
    ]


def _said(name: str) -> str:
    return name.replace("_", " ")
