"""`tiers jobs`: a folder of pictures through the background API of a running service, with progress, into files."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from inference_http.keys import read_keys

from tiers.job_client import JobClient, ServiceError
from tiers.job_files import Outcome, write_outcomes

_KINDS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_LOOK_S_MIN, _LOOK_S_MAX = 0.1, 2.0
_BAR_CHARS = 30


def add_parser(commands: Any) -> None:
    """The command's own parser, among those of `tiers`."""
    parser = commands.add_parser("jobs", help="send pictures to a service in the background, and collect the answers")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    submit = actions.add_parser("submit", help="submit pictures, wait, write JSON, CSV and annotated pictures")
    submit.add_argument("pictures", nargs="+", type=Path, help="pictures, or folders of them")
    submit.add_argument("--model", required=True, help="name of a model or family")
    submit.add_argument("--scale", type=float, default=1.0, help="sides of the picture times this (default: 1)")
    submit.add_argument("--out", type=Path, default=Path("results"), help="folder to write to (default: results)")
    submit.add_argument("--no-wait", action="store_true", help="print the jobs' ids and end")
    submit.set_defaults(action=_submit)
    for name, action, what in (("list", _list, "the newest jobs"), ("show", _show, "one"), ("cancel", _cancel, "one")):
        other = actions.add_parser(name, help=f"{name} {what}")
        if name != "list":
            other.add_argument("job", help="id of a job")
        other.set_defaults(action=action)
    for one in actions.choices.values():
        one.add_argument("--url", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the action. Returns 1 when a picture has no answer, 2 when the service cannot be reached or refuses."""
    keys = read_keys(filter(None, environ.get("INFERENCE_API_KEYS", "").split(",")))
    client = JobClient(options.url, key=keys[0].decode() if keys else "")
    action: Callable[[argparse.Namespace, JobClient], int] = options.action
    try:
        return action(options, client)
    except (ServiceError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _submit(options: argparse.Namespace, client: JobClient) -> int:
    pictures = found_pictures(options.pictures)
    if not pictures:
        sys.stderr.write("error: no pictures there\n")
        return 2
    jobs: dict[Path, str] = {}
    outcomes: list[Outcome] = []
    for number, path in enumerate(pictures):
        body = path.read_bytes()
        # The same picture again is the same job: an interrupted command goes on where it was.
        key = sha256(f"{options.model} {options.scale} ".encode() + body).hexdigest()
        try:
            jobs[path] = client.submit(options.model, body, scale=options.scale, key=key)
        except ServiceError as error:
            if not error.is_refusal:
                raise
            outcomes.append(Outcome(path, problem={"code": error.code, "detail": str(error)}))
        _bar("submitted", number + 1, len(pictures))
    if options.no_wait:
        sys.stdout.writelines(f"{name}  {path}\n" for path, name in jobs.items())
        return 1 if outcomes else 0
    outcomes += wait_for(client, jobs)
    write_outcomes(sorted(outcomes, key=lambda outcome: outcome.picture), options.out)
    return _summary(outcomes, options.out)


def found_pictures(given: Iterable[Path]) -> list[Path]:
    """The pictures given, and those in the folders given, by name."""
    found: list[Path] = []
    for path in given:
        found += (
            sorted(child for child in path.rglob("*") if child.suffix.lower() in _KINDS) if path.is_dir() else [path]
        )
    return found


def wait_for(client: JobClient, jobs: Mapping[Path, str]) -> list[Outcome]:
    """The outcome of every job, in the order in which they are finished."""
    outcomes: list[Outcome] = []
    waiting = dict(jobs)
    look_s = _LOOK_S_MIN
    while waiting:
        progressed = False
        for path, name in list(waiting.items()):
            document = client.job(name)
            if document["status"] in ("queued", "running"):
                # Jobs are worked off in order: those behind this one need not be asked for yet.
                break
            del waiting[path]
            progressed = True
            reply = client.result(name) if document["status"] == "succeeded" else None
            outcomes.append(Outcome(path, reply, document["error"] or {"code": document["status"]}))
            _bar("finished", len(jobs) - len(waiting), len(jobs))
        look_s = _LOOK_S_MIN if progressed else min(look_s * 1.3, _LOOK_S_MAX)
        if waiting:
            time.sleep(look_s)
    return outcomes


def _summary(outcomes: list[Outcome], out: Path) -> int:
    failed = [outcome for outcome in outcomes if outcome.reply is None]
    sys.stdout.write(f"{len(outcomes) - len(failed)} answered, {len(failed)} not; see {out}\n")
    for outcome in failed:
        reason = outcome.problem.get("detail") or outcome.problem["code"]
        sys.stderr.write(f"error: {outcome.picture}: {reason}\n")
    return 1 if failed else 0


def _bar(what: str, done: int, of: int) -> None:
    """Progress on a terminal: one line that is written over. Elsewhere only its last state."""
    is_terminal = sys.stderr.isatty()
    if not is_terminal and done < of:
        return
    full = _BAR_CHARS * done // of
    sys.stderr.write(f"\r[{'#' * full}{'.' * (_BAR_CHARS - full)}] {done}/{of} {what}" + ("\n" if done == of else ""))


def _list(_: argparse.Namespace, client: JobClient) -> int:
    for job in client.jobs():
        sys.stdout.write(f"{job['id']}  {job['status']:9}  {job['created_at']}  {job['model']}\n")
    return 0


def _show(options: argparse.Namespace, client: JobClient) -> int:
    return _print(client.job(options.job))


def _cancel(options: argparse.Namespace, client: JobClient) -> int:
    return _print(client.cancel(options.job))


def _print(job: Mapping[str, Any]) -> int:
    for name, value in job.items():
        if name != "links":
            sys.stdout.write(f"{name:12} {value}\n")
    return 0
