"""From a file to a model folder: read, recognise, try, copy, open as it will be served, and only then let it appear."""

import hashlib
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from inference_core.cpu import usable_cores
from inference_core.detection import DetectionPipeline
from inference_core.errors import StartupError
from inference_core.manifest import DataFile, Manifest, read_manifest
from inference_core.session import Session
from inference_core.settings import Settings
from inference_core.tabular import TabularPipeline

from intake.errors import Refused
from intake.model_text import toml_of
from intake.onnx_file import FileFacts, read_facts
from intake.pictures import recognised_detector
from intake.place import staged
from intake.tables import recognised_table
from intake.tensors import recognised_tensors, refuse_types
from intake.wish import Found, Wish

MODEL_FILE = "model.onnx"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_UNDER_DEVELOPMENT = re.compile(r"Opset (\d+) is under development.*for domain (\S+) is till opset (\d+)", re.DOTALL)
_NEWER_FORMAT = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_UNKNOWN_OPERATOR = re.compile(r"Fatal error: ([^\s:]+):(\w+)\(.*is not a registered function/op")


@dataclass(frozen=True)
class Request:
    """What `tiers add` is asked for; what is empty follows from the file."""

    path: Path
    models_dir: Path
    wish: Wish = field(default_factory=Wish)
    name: str = ""
    family: str = ""
    variant: str = ""
    replace: bool = False


@dataclass(frozen=True)
class Added:
    """A model folder that tiers can serve now, and what was found out about the file."""

    folder: Path
    manifest: Manifest
    found: Found


def add(request: Request) -> Added:
    """Make a model folder of the file. Raises Refused, and leaves nothing behind, when it cannot be served as asked."""
    name = request.name or _name_of(request.path)
    if not _NAME.fullmatch(name):
        raise Refused(f"The name {name!r} has other letters than A-Z, a-z, 0-9, '.', '_' and '-'; give another --name.")
    with staged(request.models_dir, name, replace=request.replace) as folder:
        facts = _copied(request.path, folder)
        found = _recognised(folder, facts, request.wish)
        _write_manifest(folder, request, name, facts, found)
        _open_as_served(folder)
    placed = request.models_dir / name
    return Added(placed, read_manifest(placed), found)


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")


def _copied(path: Path, folder: Path) -> FileFacts:
    """Copy the model and the files of its weights into `folder`. Raises Refused when one is missing or cut short."""
    try:
        facts = read_facts(path.read_bytes())
        for location, needed_bytes in facts.weights.items():
            _check_weights(path.parent, location, needed_bytes)
        shutil.copyfile(path, folder / MODEL_FILE)
        for location in facts.weights:
            (folder / location).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / location, folder / location)
    except OSError as error:
        raise Refused(f"{error.filename or path}: {error.strerror}.") from None
    return facts


def _check_weights(beside: Path, location: str, needed_bytes: int) -> None:
    parts = Path(location).parts
    if Path(location).is_absolute() or ".." in parts or location in (MODEL_FILE, "model.toml"):
        raise Refused(f"Its weights lie in {location!r}; they must lie beside the model, in a file of another name.")
    path = beside / location
    if not path.is_file():
        raise Refused(f"Its weights lie in {location!r}, which is not in {beside}: bring that file along.")
    if (found_bytes := path.stat().st_size) < needed_bytes:
        raise Refused(f"{path} is cut short: {found_bytes} bytes, and the model needs {needed_bytes}. Copy it again.")


def _recognised(folder: Path, facts: FileFacts, wish: Wish) -> Found:
    session = _open(folder, facts)
    refuse_types(session)
    if wish.task == "tensor":
        return recognised_tensors(session)
    try:
        found = _of_a_task(session, facts, wish)
    except Refused as error:
        hint = "" if wish.task else " Or have it served by its tensors alone: --task tensor."
        raise Refused(f"{error}{hint}") from None
    if wish.task and (found is None or found.task != wish.task):
        raise Refused(f"Its tensors are not those of a {wish.task} model known here: {_shapes(session)}.")
    return found or recognised_tensors(session)


def _of_a_task(session: Session, facts: FileFacts, wish: Wish) -> Found | None:
    found = recognised_detector(session, wish) if wish.task in (None, "detection") else None
    return found if found or wish.task == "detection" else recognised_table(session, wish, facts)


def _shapes(session: Session) -> str:
    inputs, outputs = (
        ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in specs)
        for specs in (session.inputs, session.outputs)
    )
    return f"{inputs} -> {outputs}"


def _open(folder: Path, facts: FileFacts) -> Session:
    data = (folder / MODEL_FILE).read_bytes()
    try:
        return Session(data, threads=usable_cores(), data_folder=folder if facts.weights else None)
    except StartupError as error:
        raise Refused(_in_plain_words(str(error))) from None


def _in_plain_words(text: str) -> str:
    """ONNX Runtime's complaint, said so that one knows what to do."""
    if match := _UNDER_DEVELOPMENT.search(text):
        opset, domain, newest = match.groups()
        return f"It needs opset {opset} of {domain}; this ONNX Runtime knows up to {newest}. Export it for that."
    if match := _NEWER_FORMAT.search(text):
        return f"Its IR version is {match[1]}; this ONNX Runtime reads up to {match[2]}. Export it with an older onnx."
    if match := _UNKNOWN_OPERATOR.search(text):
        return f"It uses the operator {match[2]} of {match[1]}, which ONNX Runtime does not have. Export it without it."
    return text


def _write_manifest(folder: Path, request: Request, name: str, facts: FileFacts, found: Found) -> None:
    session = _open(folder, facts)
    family = request.family or name
    weights = [DataFile(location, _sha256(folder / location)) for location in facts.weights]
    table = {
        "name": name,
        "family": family,
        "variant": request.variant or name.removeprefix(f"{family}-"),
        "task": found.task,
        "file": MODEL_FILE,
        "sha256": _sha256(folder / MODEL_FILE),
        "licence": session.metadata.get("license") or "unknown",
        "source": f"tiers add {request.path.name}",
        **({"data": weights} if weights else {}),
        "input": found.input,
        "output": found.output,
    }
    (folder / "model.toml").write_text(toml_of(table), "utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_as_served(folder: Path) -> None:
    """Raise Refused when a tier could not serve what was written."""
    try:
        manifest = read_manifest(folder)
        session = Session(manifest.model_bytes, threads=usable_cores(), data_folder=manifest.data_folder)
        if manifest.task == "detection":
            DetectionPipeline(manifest, session, pixels_max=Settings.pixels_max).warm()
        elif manifest.task != "tensor":
            TabularPipeline(manifest, session, rows_max=Settings.rows_max)
    except StartupError as error:
        raise Refused(str(error)) from None
