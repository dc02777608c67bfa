"""A contract as it is written: one YAML file, refused with its line where it is not understood."""

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flows.errors import WatchkeeperError
from flows.etl.contract import Contract
from flows.etl.contract_parts import FieldError, Place


class Loader(yaml.SafeLoader):
    """YAML in which a key is written once, and a date is text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """See PyYAML, which takes the last of two equal keys."""
        keys = [key for key, _ in node.value]
        for number, key in enumerate(keys):
            if key.value in [before.value for before in keys[:number]]:
                message = f"{key.value!r} is written twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_contract(path: Path) -> Contract:
    """Read one contract.

    Raises:
        WatchkeeperError: unreadable, not YAML, or refused; names file, line where known, and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise WatchkeeperError(f"contract {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise WatchkeeperError(f"contract {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise WatchkeeperError(f"contract {path} must be a mapping of fields, not {type(document).__name__}")
    try:
        for name in ("dataset", "table"):
            if name in document:
                raise refusal(path, [((name,), "the folder and the file name say it; remove it here")])
        return Contract.model_validate({"dataset": path.parent.name, "table": path.stem, **document})
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise refusal(path, [(place_of(f), f["msg"].removeprefix("Value error, ")) for f in faults]) from None


def place_of(fault: ErrorDetails) -> Place:
    """The field that pydantic or a validator of ours complains of."""
    cause = fault.get("ctx", {}).get("error")
    return fault["loc"] + (cause.place if isinstance(cause, FieldError) else ())


def refusal(path: Path, faults: Iterable[tuple[Place, str]]) -> WatchkeeperError:
    """The error that names the file, and each fault's line and field."""
    text = path.read_text(encoding="utf-8")
    lines = []
    for place, message in faults:
        line = _line_of(text, place)
        field = ".".join(str(part) for part in place) or "contract"
        lines.append(f"  {f'line {line}, ' if line else ''}{field}: {message}")
    return WatchkeeperError(f"contract {path} is refused:\n" + "\n".join(lines))


def _line_of(text: str, location: Place) -> int | None:
    """Line (from 1) of the deepest part of `location` that the YAML text holds."""
    node, line = yaml.compose(text), None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
