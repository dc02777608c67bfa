"""Why a Spark job failed, by its driver's log."""

import re

CAUSE = re.compile(r"^(?:[\w.]*(?:Exception|Error): |Caused by: )(.*)")


def cause_of(log: list[str], ended: str, full_disk: str) -> str:
    """The driver's own words for what went wrong: the last exception that its log names.

    Args:
        log: the driver's last lines.
        ended: how it ended, where the log does not say why.
        full_disk: what to do about a full disk.
    """
    if any("No space left on device" in line for line in log):
        return full_disk
    causes = [match[1] for line in log if (match := CAUSE.match(line.strip()))]
    return causes[-1] if causes else "; ".join(filter(None, (ended, " | ".join(log[-3:]))))
