"""``--set key=value``: numbers of a recipe changed from the command line."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from colasearch.errors import InputError

RecipeT = TypeVar("RecipeT")


def override(recipe: RecipeT, given: Sequence[str]) -> RecipeT:
    """``recipe``, a dataclass of ints, floats, strings, booleans and tuples of them, with ``key=value`` texts applied.

    Raises:
        InputError: An unknown key, or a value that is not of the field's type.
    """
    kinds = typing.get_type_hints(type(recipe))
    changes: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise InputError(f"--set {text!r} has no value; write --set key=value")
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the recipe has {', '.join(kinds)}"
            raise InputError(f"--set {text!r}: the recipe has no {key!r}; {hint}")
        changes[key] = _parse(text, value.strip(), kinds[key])
    return dataclasses.replace(recipe, **changes)  # type: ignore[type-var]


def _parse(text: str, value: str, kind: Any) -> Any:
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        if kind in (int, float, str):
            return kind(value)
        (of, *_) = typing.get_args(kind)
        return tuple(of(part.strip()) for part in value.split(","))
    except (ValueError, KeyError):
        several = "numbers with commas between them, as 0,0.01"
        whole = "whole numbers with commas between them, as 4,16,64"
        wanted = names.get(kind, several if typing.get_args(kind)[:1] == (float,) else whole)
        raise InputError(f"--set {text!r}: {value!r} is not {wanted}") from None
