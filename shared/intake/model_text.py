"""A manifest as the text of `model.toml`, which `inference_core.manifest` reads."""

import json
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

_LINE_CHARS = 110
"""A list that is longer stands an item a line."""


def toml_of(table: dict[str, Any]) -> str:
    """`table` as TOML: its plain values, then each dataclass in it as a section, without what is as by default."""
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not is_dataclass(value)]
    for key, section in table.items():
        if is_dataclass(section) and (entries := _entries(section)):
            lines += ["", f"[{key}]", *(f"{name} = {_value(value)}" for name, value in entries.items())]
    return "\n".join(lines) + "\n"


def _entries(section: Any) -> dict[str, Any]:
    values = {field.name: (getattr(section, field.name), field.default) for field in fields(section)}
    return {name: value for name, (value, default) in values.items() if default is MISSING or value != default}


def _value(value: Any) -> str:
    if is_dataclass(value):
        return "{" + ", ".join(f"{name} = {_value(entry)}" for name, entry in _entries(value).items()) + "}"
    if isinstance(value, tuple | list):
        items = [_value(item) for item in value]
        line = f"[{', '.join(items)}]"
        return line if len(line) <= _LINE_CHARS else "".join(["[\n", *(f"  {item},\n" for item in items), "]"])
    if isinstance(value, float):
        return repr(value)
    # JSON's texts, whole numbers and truths are TOML's too, but for the escape of DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
