"""What a runbook tells a person to paste, taken out of the page and run on a watch as it is written."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from flows.config import CHECKOUT, Settings
from tests.stack.programs import PATH
from tests.stack.watching import PORTS, Stack

FOLDER = CHECKOUT / "observability" / "runbooks"
SETS = re.compile(r"[A-Z]+=|[A-Z]\(\)")
"""A variable or a function is set: nothing is to be seen."""
DONE = "@@@"


@dataclass(frozen=True)
class Said:
    """A command as it was run, and what came of it."""

    command: str
    code: int
    output: str


def section(name: str, title: str) -> list[str]:
    """The commands below a title of a runbook, as they stand there."""
    text = (FOLDER / f"{name}.md").read_text().split(f"## {title}")[1].split("\n## ")[0]
    return [one for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for one in commands(block)]


def commands(block: str) -> Iterator[str]:
    """A block's commands: each as many lines as bash takes for a whole one."""
    lines: list[str] = []
    for line in block.splitlines():
        lines.append(line)
        if not line.endswith("\\") and whole("\n".join(lines)):
            yield "\n".join(lines)
            lines = []
    assert not lines, lines


def whole(command: str) -> bool:
    """Whether bash waits for no more."""
    return subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True).returncode == 0


def run(stack: Stack, pasted: list[str]) -> list[Said]:
    """Commands in one bash, as a person pastes them, with the ports of this watch."""
    script = "\n".join(f"{command}\necho; echo {DONE} $?" for command in at_its_ports(stack, pasted))
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=CHECKOUT,
        env=stack.environment | {"PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    parts = re.split(rf"\n{DONE} (\d+)\n", done.stdout)
    assert len(parts) == 2 * len(pasted) + 1, done.stdout
    return [
        Said(command, int(code), output)
        for command, output, code in zip(pasted, parts[::2], parts[1::2], strict=False)
    ]


def at_its_ports(stack: Stack, pasted: list[str]) -> list[str]:
    """Commands with the ports of this watch in the place of the defaults, and nothing else changed."""
    ours = {Settings.model_fields[name].default: getattr(stack.settings, name) for name in PORTS}
    return [
        re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda port: str(ours[int(port[0])]), command) for command in pasted
    ]
