"""What a service refuses and botocore's own check lets pass: lengths, patterns, words of an enumeration."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import Shape


def broken(shape: Shape, value: Any, name: str = "") -> list[str]:
    """Each constraint of the model that a value breaks, of its parts too."""
    return list(_broken(shape, value, name))


def _broken(shape: Shape, value: Any, name: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for key, item in value.items():
            yield from _broken(shape.members[key], item, f"{name}.{key}" if name else key)
    elif shape.type_name == "list":
        yield from out_of_bounds(shape, len(value), f"the length of {name}")
        for number, item in enumerate(value):
            yield from _broken(shape.member, item, f"{name}[{number}]")
    elif shape.type_name == "map":
        yield from out_of_bounds(shape, len(value), f"the size of {name}")
        for key, item in value.items():
            yield from _broken(shape.key, key, f"{name} (key)")
            yield from _broken(shape.value, item, f"{name}[{key}]")
    elif shape.type_name == "string":
        yield from out_of_bounds(shape, len(value), f"the length of {name}")
        pattern = compiled(shape.metadata.get("pattern", ""))
        if pattern and not pattern.fullmatch(value):
            yield f"{name} does not satisfy the pattern {pattern.pattern}"
        if shape.enum and value not in shape.enum:
            yield f"{name} is {value!r}, not one of {', '.join(shape.enum)}"
    elif shape.type_name in ("integer", "long"):
        yield from out_of_bounds(shape, value, name)


def out_of_bounds(shape: Shape, size: float, what: str) -> Iterator[str]:
    """Whether a size is outside of what the model allows."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        yield f"{what} is {size}; allowed is {low} to {high}"


@cache
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The model's pattern; None where there is none, or where it is one of Java's over surrogate pairs."""
    try:
        return re.compile(pattern, re.DOTALL) if pattern else None
    except re.error:
        return None
