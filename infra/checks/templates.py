"""Bicep files as plain data, and the expressions in them worked out as far as the policies need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycep import BicepParser


@dataclass(frozen=True)
class Resource:
    """One resource of a template."""

    file: str
    symbol: str
    type: str
    body: Mapping[str, Any]
    existing: bool

    @property
    def where(self) -> str:
        """For findings."""
        return f"{self.file}: {self.symbol}"


@dataclass(frozen=True)
class Template:
    """One Bicep file."""

    file: str
    tree: Mapping[str, Any]

    def resources(self, *types: str) -> list[Resource]:
        """Its resources of these types that it makes itself; all of them where no type is given."""
        found = [
            Resource(self.file, symbol, entry["type"], _body(entry["config"]), bool(entry["existing"]))
            for symbol, entry in self.tree.get("resources", {}).items()
        ]
        return [r for r in found if not r.existing and (not types or r.type in types)]

    def resolve(self, node: Any, **given: object) -> Any:
        """A value with its variables put in and the conditions on `given` names decided.

        What cannot be decided stays as the tree has it, both sides of a condition among it. The parser does not tell
        the name `a` from the string 'a': a string equal to a variable's name is taken for it.
        """
        return _Resolver(self.tree.get("variables", {}), given).value(node)

    def default(self, name: object) -> Any:
        """What a parameter is when nobody gives it; anything that is no parameter as it stands."""
        parameter = self.tree.get("parameters", {}).get(name) if isinstance(name, str) else None
        return parameter.get("default") if parameter else name

    def limits(self, name: object) -> tuple[int, int] | None:
        """What a parameter's decorators let it be, where they bound it on both sides."""
        parameter = self.tree.get("parameters", {}).get(name) if isinstance(name, str) else None
        found = {d["type"]: d.get("argument") for d in parameter["decorators"]} if parameter else {}
        if "min_value" in found and "max_value" in found:
            return int(found["min_value"]), int(found["max_value"])
        return None


@dataclass(frozen=True)
class _Resolver:
    variables: Mapping[str, Any]
    given: Mapping[str, object]

    def value(self, node: Any) -> Any:
        if isinstance(node, str):
            return self._named(node)
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "operator" in node:
            return self._operator(node)
        if isinstance(node.get("function"), dict) and node["function"].get("type") in {"concat", "union"}:
            return self._joined(node)
        return {key: self.value(item) for key, item in node.items()}

    def _named(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        if name not in self.variables:
            return name
        # A variable does not hold itself: an equal string inside it is a string.
        others = {other: value for other, value in self.variables.items() if other != name}
        return _Resolver(others, self.given).value(self.variables[name]["value"])

    def _operator(self, node: Mapping[str, Any]) -> Any:
        operands = node["operator"]["operands"]
        if node["operator"]["type"] != "conditional":
            return node
        condition = self.value(operands["condition"])
        if isinstance(condition, bool):
            return self.value(operands["true_value" if condition else "false_value"])
        return {"either": [self.value(operands[side]) for side in ("true_value", "false_value")]}

    def _joined(self, node: Mapping[str, Any]) -> Any:
        parts = [self.value(part) for part in node["function"]["parameters"].values()]
        if all(isinstance(part, list) for part in parts):
            return [item for part in parts for item in part]
        return {"joined": parts}


def read_templates(folder: Path) -> list[Template]:
    """Every Bicep file below `folder`. Raises ValueError naming the file that does not parse."""
    return [
        parse(path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.bicep"))
    ]


def parse(file: str, text: str) -> Template:
    """One Bicep file. Raises ValueError naming it when it does not parse."""
    try:
        tree = _unquoted(BicepParser().parse(text=text))
    except Exception as error:  # the parser's own errors share no class
        raise ValueError(f"{file} does not parse: {error}") from error
    return Template(file, tree)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every object below a value, the value itself first."""
    if isinstance(node, dict):
        yield node
        for item in node.values():
            yield from walk(item)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def _unquoted(node: Any) -> Any:
    """The tree with its keys as they are meant: the parser keeps the quotes of those that need them."""
    if isinstance(node, dict):
        return {str(key).strip("'"): _unquoted(item) for key, item in node.items()}
    return [_unquoted(item) for item in node] if isinstance(node, list) else node


def _body(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is inside of `if (...)` and `for`."""
    while "config" in config and ("condition" in config or "loop_type" in config):
        config = config["config"]
    return config
