"""Each policy holds for our templates, and finds what is wrong with a broken one."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tier_planner.objectives import read_objectives

from infra.checks import hosting, project, settings
from infra.checks.outcome import PASSED
from infra.checks.report import POLICIES, policy_outcomes
from infra.checks.templates import Template, parse, read_templates
from tests.conftest import PROJECT
from tests.infra.broken import BROKEN, Policy

FOLDER = PROJECT / "infra"
PARAMETERS: dict[str, Any] = json.loads((FOLDER / "main.parameters.json").read_text())


@cache
def ours() -> tuple[Template, ...]:
    """Our templates; the parser is slow."""
    return tuple(read_templates(FOLDER))


def broken(file: str, old: str, new: str) -> list[Template]:
    """Our templates, one of them with something taken away."""
    path = next(path for path in FOLDER.rglob("*.bicep") if path.stem == file)
    text = path.read_text()
    assert old in text, f"{file} no longer has: {old}"
    changed = parse(path.relative_to(FOLDER).as_posix(), text.replace(old, new))
    return [changed if template.file == changed.file else template for template in ours()]


def test_our_templates_hold_to_every_policy() -> None:
    outcomes = policy_outcomes(PROJECT)
    assert [outcome for outcome in outcomes if outcome.state != PASSED] == []
    assert len(outcomes) == len(POLICIES) + 6


@pytest.mark.parametrize(
    ("policy", "file", "old", "new", "found"), BROKEN, ids=[f"{case[0].__name__}-{i}" for i, case in enumerate(BROKEN)]
)
def test_a_policy_finds_what_is_broken(policy: Policy, file: str, old: str, new: str, found: str) -> None:
    assert policy(ours()) == []
    assert any(found in finding for finding in policy(broken(file, old, new)))


def test_every_policy_has_been_seen_to_fail() -> None:
    assert {case[0] for case in BROKEN} == set(POLICIES)


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("main", "{ 'azd-env-name': environmentName }", "{ other: environmentName }", "group has no tag azd-env-name"),
        ("function", "'azd-service-name': 'function'", "'azd-service-name': 'api'", "'function' is on 0 resources"),
        ("container-tier", "'azd-service-name': 'container'", "'azd-service-name': 'function'", "is on 2 resources"),
        ("registry", "  tags: tags\n  sku", "  sku", "registry has no tags"),
    ],
)
def test_tags_that_azd_needs_are_missed(file: str, old: str, new: str, found: str) -> None:
    services = project.azure_yaml(PROJECT)["services"]
    assert any(found in finding for finding in hosting.everything_is_tagged(broken(file, old, new), services))


def test_a_setting_that_nothing_reads_is_found() -> None:
    known = settings.settings_that_code_reads(PROJECT)
    assert {"INFERENCE_THREADS", "INFERENCE_SLOTS", "INFERENCE_QUEUE_MAX"} <= known
    templates = broken("function", "'OMP_NUM_THREADS'", "'INFERENCE_TREADS'")
    assert any("INFERENCE_TREADS, which nothing reads" in f for f in settings.settings_are_read(templates, {}, known))
    given = {"parameters": {"containerSettings": {"value": {"INFERENCE_SLOT": "1"}}}}
    found = settings.settings_are_read(ours(), given, known)
    assert found == ["main.parameters.json sets INFERENCE_SLOT, which settings.py does not read"]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("functionBoundMs", "${FUNCTION_BOUND_MS=250}", "slo.toml says 300"),
        ("containerBoundMs", None, "lacks containerBoundMs"),
        ("region", "eastus", "region is no parameter"),
    ],
)
def test_parameters_that_do_not_fit_are_found(name: str, value: str | None, found: str) -> None:
    given = dict(PARAMETERS["parameters"])
    if value is None:
        del given[name]
    else:
        given[name] = {"value": value}
    (main,) = (template for template in ours() if template.file == "main.bicep")
    objectives = read_objectives(PROJECT / "shared" / "config" / "slo.toml")
    findings = settings.parameters_fit(main, {"parameters": given}, objectives)
    assert any(found in finding for finding in findings)


@pytest.mark.parametrize(
    ("service", "change", "found"),
    [
        ("function", {"host": "vm"}, "host is 'vm'"),
        ("function", {"remoteBuild": True}, "remoteBuild must be false"),
        ("function", {"env": {}}, "env is not for host function"),
        ("function", {"hooks": {"prepackage": {"run": "./nothing.sh"}}}, "nothing.sh is no executable file"),
        ("function", {"hooks": {"preprovision": {"run": "./stage.sh"}}}, "hooks.preprovision is no event"),
        ("container", {"language": "python"}, "requirements.txt before it packages Python, and there is none"),
        ("container", {"remoteBuild": False}, "remoteBuild is not for host containerapp"),
        ("container", {"image": "x"}, "exactly one of project and image"),
        ("container", {"docker": {"path": "./nowhere"}}, "there is no ./nowhere"),
        ("container", {"docker": {"file": "x"}}, "docker.file is unknown"),
    ],
)
def test_an_azure_yaml_that_azd_would_refuse_is_found(service: str, change: dict[str, Any], found: str) -> None:
    document = project.azure_yaml(PROJECT)
    document["services"][service] |= change
    assert any(found in finding for finding in project.azure_yaml_fits(document, PROJECT))


def test_an_immodest_workflow_is_found(tmp_path: Path) -> None:
    steps = "steps: [{uses: actions/checkout@main}]"
    (tmp_path / "x.yml").write_text(f"on: push\npermissions: write-all\njobs: {{a: {{runs-on: x, {steps}}}}}\n")
    assert project.workflows_are_modest(tmp_path) == [
        "x.yml: permissions is not `contents: read`",
        "x.yml: job a has no timeout-minutes",
        "x.yml: actions/checkout@main is not pinned to a version",
    ]


def test_a_template_that_does_not_parse_is_named() -> None:
    with pytest.raises(ValueError, match=r"broken\.bicep does not parse"):
        parse("broken.bicep", "resource x = {")
