"""Every hostile input: what is sent, and what is right."""

from tests.everything import EVERYTHING
from tests.faults.serving.case import Case
from tests.faults.serving.framing import framings
from tests.faults.serving.payloads import payloads
from tests.faults.serving.pictures import pictures

ALL: list[Case] = [*pictures(), *payloads(), *framings()]
CASES = ALL if EVERYTHING else ALL[::4]
