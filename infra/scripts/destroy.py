"""Remove everything that was deployed to an environment."""

from infra.scripts.steps import Runner, StepError, UsageError, say
from infra.scripts.target import Target


def destroy(runner: Runner, target: Target, *, sure: bool) -> int:
    """Delete the resource group and all that is in it. Raises StepError where something is left."""
    if not (sure or runner.dry):
        raise UsageError(
            f"this deletes the resource group {target.group} and all that is in it; say --yes if that is meant"
        )
    exists = ["az", "group", "exists", "--name", target.group]
    if runner.ask(exists, "true") == "false":
        say(f"  nothing to remove: there is no resource group {target.group}")
        return 0
    by_hand = f"az group delete --name {target.group} --yes"
    command = ["azd", "down", "--force", "--purge", "--no-prompt", "--environment", target.environment]
    runner.step("down", command, by_hand)
    runner.finish()
    if runner.ask(exists, "false") != "false":
        raise StepError(f"{target.group} is still there\n  mend:   {by_hand}")
    say(f"  {target.group} is gone")
    return 0
