"""Descriptions in YAML and JSON files."""

import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml


def read_document(path: Path) -> Any:
    """What a YAML or JSON file holds. Plain values are as in JSON, and each key is there once.

    Raises:
        ValueError: It is neither YAML nor JSON, or a key is there twice.
        OSError: It cannot be read.
    """
    with path.open(encoding="utf-8") as file:
        try:
            return yaml.load(file, _Loader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"neither YAML nor JSON: {error}") from error


class _Loader(yaml.SafeLoader):
    """Plain data, which run no code, by the core schema of YAML 1.2: to YAML 1.1 `1e-05` is text and `010` is 8."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise ValueError(f"{str(key.start_mark).strip()}: the key {key.value!r} is there twice; leave one out")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _constructor(read: Callable[[str], Any]) -> Callable[[_Loader, yaml.ScalarNode], Any]:
    return lambda loader, node: read(node.value)


def _constant(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _number(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


SCHEMA: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", _constant),
    "bool": (r"true|True|TRUE|false|False|FALSE", _constant),
    "int": (r"[-+]?\d+", int),
    "float": (r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.inf|\.nan", _number),
}
_Loader.yaml_implicit_resolvers = {}  # those of YAML 1.1
for _name, (_pattern, _read) in SCHEMA.items():
    _tag = f"tag:yaml.org,2002:{_name}"
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), None)
    _Loader.add_constructor(_tag, _constructor(_read))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<$"), None)
