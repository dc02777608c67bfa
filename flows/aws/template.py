"""What `deployments/aws/stack.yaml` allows, read from it, so that `task aws:check` asks for nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from flows.config import CHECKOUT

FILE = CHECKOUT / "deployments" / "aws" / "stack.yaml"
VARIABLE = re.compile(r"\$\{([\w:]+)\}")


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags: `!Sub x` becomes `{"Fn::Sub": "x"}`, `!Ref x` `{"Ref": "x"}`."""


def short_tag(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    """One tag of CloudFormation's."""
    name = suffix if suffix == "Ref" else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {name: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", short_tag)


@dataclass(frozen=True)
class Statement:
    """A statement of a policy.

    Attributes:
        sid: its name.
        actions: such as `s3:GetObject`.
        resources: their ARNs; empty where the statement names a resource that has no name before it is made.
        context: values of the condition's keys with which it holds.
    """

    sid: str
    actions: list[str]
    resources: list[str]
    context: dict[str, str]


def load() -> dict[str, Any]:
    """The whole template."""
    content: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), Loader)  # noqa: S506  # a SafeLoader
    return content


def defaults() -> dict[str, str]:
    """The parameters' defaults."""
    return {name: str(said["Default"]) for name, said in load()["Parameters"].items() if "Default" in said}


def worker_statements(names: dict[str, str]) -> Iterator[Statement]:
    """What the worker's policy allows.

    Args:
        names: values of the template's parameters and of AWS's own, such as `AWS::Region`.
    """
    document = load()["Resources"]["WorkerPolicy"]["Properties"]["PolicyDocument"]
    for said in document["Statement"]:
        equal = said.get("Condition", {}).get("StringEquals", {})
        yield Statement(
            said["Sid"],
            as_list(said["Action"]),
            [arn for each in as_list(said["Resource"]) if (arn := filled(each, names))],
            {key: filled(value, names) or "" for key, value in equal.items()},
        )


def as_list(said: Any) -> list[Any]:  # noqa: ANN401  # as YAML has it
    """One or several."""
    return said if isinstance(said, list) else [said]


def filled(said: Any, names: dict[str, str]) -> str | None:  # noqa: ANN401
    """A text, `!Ref` or `!Sub` with the names put in; None for what only a stack that is made can tell."""
    match said:
        case str():
            return said
        case {"Ref": name}:
            return names.get(name)
        case {"Fn::Sub": str(text)}:
            return VARIABLE.sub(lambda found: names[found[1]], text)
    return None
