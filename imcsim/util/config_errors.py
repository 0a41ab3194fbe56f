"""What pydantic found wrong with a file, in plain words: where, what, and the nearest word that would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from imcsim.util.errors import ImcsimError, did_you_mean
from imcsim.util.registry import Registry

_PROBLEMS = {  # pydantic's error type -> plain words; the value is added behind
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "string_type": "expected a text",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a block of keys",
    "model_type": "expected a block of keys",
    "model_attributes_type": "expected a block of keys",
    "literal_error": "expected {expected}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}
_URGENT = ("extra_forbidden", "union_tag_invalid")  # a misspelt key also makes one that is missing: name the cause


def in_plain_words(error: ValidationError, model: type[BaseModel], data: Any, where: str) -> ImcsimError:
    """The first mistake of ``error`` as the one sentence that a user sees."""
    errors: list[Any] = sorted(error.errors(include_url=False), key=lambda e: e["type"] not in _URGENT)
    keys = _keys(errors[0]["loc"], data)
    alternatives = [e for e in errors if _keys(e["loc"], data) == keys]
    problem, suggestion = _problem(errors[0], model, data, keys)
    if len(alternatives) > 1 and errors[0]["type"] in _PROBLEMS:
        wishes = [_PROBLEMS.get(e["type"], e["msg"]).format(**e.get("ctx", {})) for e in alternatives]
        either = " or ".join(dict.fromkeys(wishes)).replace(" or expected ", " or ")
        problem = f"{either}, got {_shown(errors[0]['input'])}"
    return ImcsimError(": ".join(filter(None, [where, _key_path(keys, data)])), problem, suggestion)


def _problem(error: Any, model: type[BaseModel], data: Any, keys: list[str | int]) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key '{keys[-1]}'", did_you_mean(str(keys[-1]), _known_keys(model, keys[:-1], data))
    if kind == "union_tag_invalid":
        kinds = re.findall(r"'([^']+)'", context["expected_tags"])
        return f"unknown kind '{context['tag']}'", did_you_mean(str(context["tag"]), kinds)
    if kind == "union_tag_not_found":
        return "the key 'kind' is missing", "say which kind it is"
    if kind == "missing":
        return f"the key '{keys[-1]}' is missing", "add it"
    if kind == "value_error":
        return str(context["error"]), ""
    text = _PROBLEMS[kind].format(**context) if kind in _PROBLEMS else error["msg"]
    quoted = isinstance(error["input"], str) and kind in ("int_type", "float_type")
    return f"{text}, got {_shown(error['input'])}", "write a number without quotes or unit" if quoted else ""


def _keys(location: tuple[str | int, ...], data: Any) -> list[str | int]:
    """Pydantic's location without the names of union branches that it mixes in."""
    keys: list[str | int] = []
    for i, key in enumerate(location):
        inside = key in data if isinstance(data, Mapping) else isinstance(data, list) and isinstance(key, int)
        if inside:
            data = data[key]
        if inside or (isinstance(data, Mapping) and i == len(location) - 1 and key != data.get("kind")):
            keys.append(key)
    return keys


def _key_path(keys: list[str | int], data: Any) -> str:
    """Dotted keys; an item of a list is shown by its name where it has one: ``layers[conv1].window``."""
    path = ""
    for key in keys:
        data = data[key] if isinstance(key, int) or key in data else {}
        name = data.get("name", key) if isinstance(data, Mapping) else key
        path += f"[{name}]" if isinstance(key, int) else f".{key}"
    return path.lstrip(".")


def _known_keys(model: type[BaseModel], keys: list[str | int], data: Any) -> list[str]:
    """The keys that a block of ``model`` may have, chosen by its kind."""
    models = [model]
    for key in keys:
        data = data[key]
        kind = data.get("kind") if isinstance(data, Mapping) else None
        fields = [parent.model_fields[str(key)] for parent in models if key in parent.model_fields]
        models = [below for field in fields for below in _models_below(field, str(kind))] or models
        models = [model for model in models if kind in _kinds(model)] or models
    return sorted({name for m in models for name in m.model_fields})


def _kinds(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def _models_below(field: FieldInfo, kind: str) -> list[type[BaseModel]]:
    """Return the models that a field takes: where a registry reads it, the one of the kind."""
    registries = [entry for entry in field.metadata if isinstance(entry, Registry)]
    return [registry.find(kind) for registry in registries] or _models(field.annotation)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:56]} ..."
