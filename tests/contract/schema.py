"""JSON Schema as far as the gateway's own description uses it. A keyword that is not known here is an
error, so that no part of a schema is silently not checked."""

import re
from typing import Any

_ANNOTATIONS = {"description", "title", "format", "examples"}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "$") -> list[str]:
    """Why the value does not fit the schema; nothing when it does."""
    found: list[str] = []
    for keyword, wanted in schema.items():
        match keyword:
            case "$ref":
                target: Any = root
                for part in wanted.removeprefix("#/").split("/"):
                    target = target[part]
                found += faults(value, target, root, path)
            case "type":
                right = isinstance(value, _TYPES[wanted])
                if not right or (isinstance(value, bool) and wanted in ("integer", "number")):
                    found.append(f"{path} is not of type {wanted}")
            case "const" if value != wanted:
                found.append(f"{path} is not {wanted!r}")
            case "enum" if value not in wanted:
                found.append(f"{path} is none of {wanted!r}")
            case "anyOf" if all(faults(value, choice, root, path) for choice in wanted):
                found.append(f"{path} fits no choice")
            case "required" if isinstance(value, dict):
                found += [f"{path}.{name} is missing" for name in wanted if name not in value]
            case "properties" if isinstance(value, dict):
                for name, inner in wanted.items():
                    if name in value:
                        found += faults(value[name], inner, root, f"{path}.{name}")
            case "items" if isinstance(value, list):
                for index, item in enumerate(value):
                    found += faults(item, wanted, root, f"{path}[{index}]")
            case "minItems" if isinstance(value, list) and len(value) < wanted:
                found.append(f"{path} has fewer than {wanted} items")
            case "minLength" if isinstance(value, str) and len(value) < wanted:
                found.append(f"{path} is shorter than {wanted}")
            case "minimum" if isinstance(value, int) and value < wanted:
                found.append(f"{path} is below {wanted}")
            case "maximum" if isinstance(value, int) and value > wanted:
                found.append(f"{path} is above {wanted}")
            case "maxItems" if isinstance(value, list) and len(value) > wanted:
                found.append(f"{path} has more than {wanted} items")
            case "maxLength" if isinstance(value, str) and len(value) > wanted:
                found.append(f"{path} is longer than {wanted}")
            case "pattern" if isinstance(value, str) and not re.search(wanted, value):
                found.append(f"{path} does not match {wanted}")
            case "additionalProperties" if isinstance(value, dict) and isinstance(wanted, dict):
                for name in value.keys() - schema.get("properties", {}).keys():
                    found += faults(value[name], wanted, root, f"{path}.{name}")
            case (
                "const" | "enum" | "anyOf" | "required" | "properties" | "items" | "minItems" | "minLength"
                | "minimum" | "maximum" | "maxItems" | "maxLength" | "pattern" | "additionalProperties"
            ):  # fmt: skip
                pass
            case _ if keyword not in _ANNOTATIONS:
                raise AssertionError(f"{path}: the keyword {keyword} is not checked here")
    return found
