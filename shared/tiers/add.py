"""`tiers add`: someone's own ONNX file into the folder of models, in one command."""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from inference_core.manifest import Task

from tiers.serve import MODELS_DIR

if TYPE_CHECKING:
    from intake.add import Added

_LABELS_HELP = "names of the classes, one a line, in the order of the scores"
_COLUMNS_HELP = "names of the columns, one a line or as a CSV's first line"


def add_parser(commands: Any) -> None:
    """The command's own parser, among those of `tiers`."""
    parser = commands.add_parser("add", help="bring a model of your own: recognise it, try it, make it servable")
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    parser.add_argument("--task", choices=get_args(Task), help="what it is for (default: what its tensors look like)")
    parser.add_argument("--labels", type=Path, metavar="FILE", help=_LABELS_HELP)
    parser.add_argument("--columns", type=Path, metavar="FILE", help=_COLUMNS_HELP)
    parser.add_argument("--name", default="", help="what to call it (default: the file's name)")
    parser.add_argument("--family", default="", help="the family that it is a variant of (default: its own)")
    parser.add_argument("--variant", default="", help="which of the family (default: its name less the family's)")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="folder of model folders (default: INFERENCE_MODELS_DIR, else ours)"
    )
    parser.add_argument("--replace", action="store_true", help="take the place of the model of that name")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Add the model and say so. Returns 2 when it is refused; the reason is on standard error, or in the JSON."""
    # Loaded for this command only: it brings ONNX Runtime.
    from intake.add import Request, add  # noqa: PLC0415
    from intake.errors import Refused  # noqa: PLC0415
    from intake.wish import Wish  # noqa: PLC0415

    models_dir = options.models or Path(environ.get("INFERENCE_MODELS_DIR") or MODELS_DIR)
    try:
        wish = Wish(options.task, _lines(options.labels), _columns(options.columns))
        added = add(
            Request(
                options.file,
                models_dir,
                wish,
                name=options.name,
                family=options.family,
                variant=options.variant,
                replace=options.replace,
            )
        )
    except (Refused, OSError, UnicodeDecodeError) as error:
        if options.json:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        else:
            sys.stderr.write(f"error: {error}\n")
        return 2
    manifest = added.manifest
    if options.json:
        facts = {"name": manifest.name, "family": manifest.family, "variant": manifest.variant, "task": manifest.task}
        more = {"folder": str(added.folder), "summary": added.found.summary, "warnings": added.found.warnings}
        sys.stdout.write(json.dumps(facts | more) + "\n")
        return 0
    sys.stderr.writelines(f"warning: {warning}\n" for warning in added.found.warnings)
    sys.stdout.write(f"{manifest.name}: {manifest.task}, {added.found.summary}\n{_next_steps(added)}")
    return 0


def _lines(path: Path | None) -> tuple[str, ...]:
    """The lines of a file less those at its end that are empty."""
    return tuple(line.strip() for line in path.read_text("utf-8-sig").strip().splitlines()) if path else ()


def _columns(path: Path | None) -> tuple[str, ...]:
    lines = _lines(path)
    first = [name.strip().strip('"') for name in lines[0].split(",")] if lines else []
    return tuple(first) if len(first) > 1 else lines


def _next_steps(added: "Added") -> str:
    """The commands that serve the model and ask it something."""
    folder, task = added.folder, added.manifest.task
    url = "http://127.0.0.1:8000"
    match task:
        case "detection":
            call = f"curl --data-binary @picture.jpg {url}/v1/models/{folder.name}/predict"
        case "tensor":
            call = f"curl {url}/v2/models/{folder.name}"
        case _:
            body = json.dumps({"rows": [added.found.example]}, ensure_ascii=False)
            call = f"curl -d {shlex.quote(body)} {url}/v1/models/{folder.name}/predict"
    tier = "container" if task == "detection" else "function"
    return f"in {folder}; next:\n  tiers serve {tier} --models {shlex.quote(str(folder.parent))}\n  {call}\n"
