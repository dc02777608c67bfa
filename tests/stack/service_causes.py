"""What makes the alerts on the service fire, as in `causes.py`."""

import json
import time

from onnx import ModelProto

from services.bento.ledger import Ledger
from services.bento.store import LocalStore
from tests.factories import wait_until
from tests.serving import Load, picture
from tests.stack.causes import Begun, add, stopped
from tests.stack.watching import PROBATION_SECONDS, Stack
from tests.versions import nan_when_bright, slow_when_bright

CROWD = 60
"""Senders; 24 inputs wait and 8 are in work before the service refuses."""


def service_down(stack: Stack) -> Begun:
    """The service hangs."""
    (main,) = [each for each in stack.processes("bentoml", "serve") if each.ppid() == stack.pid]
    with stopped(main):
        yield


def champion_fails(stack: Stack) -> Begun:
    """A champion that fails on bright pictures comes while they are sent: it is rolled back."""
    known = add(stack, "articles", "bad", nan_when_bright())
    stack.traffic.bright = 1
    known.promote("bad", known.live()[0])
    yield
    stack.traffic.bright = 0


def service_fails(stack: Stack) -> Begun:
    """Bright pictures come, on which the champion fails."""
    proven(stack, "worse", nan_when_bright())
    stack.traffic.bright = 1
    yield
    stack.traffic.bright = 0


def proven(stack: Stack, version: str, made: ModelProto) -> None:
    """It becomes the champion, and stands its probation on grey pictures."""
    known = add(stack, "articles", version, made)
    known.promote(version, known.live()[0])
    stack.until(lambda: stack.service.get("/model").json()["version"] == version, "the swap")
    over = time.monotonic() + PROBATION_SECONDS + 2
    wait_until(lambda: time.monotonic() > over, "the end of probation")


def service_fails_now_and_then(stack: Stack) -> Begun:
    """That champion answers still; in a rush, one picture of sixteen is bright."""
    stack.traffic.at_once, stack.traffic.bright = 12, 16
    yield
    stack.traffic.at_once, stack.traffic.bright = 4, 0


def service_slow(stack: Stack) -> Begun:
    """Bright pictures come, on which the champion takes long, and no more than can wait."""
    proven(stack, "slow", slow_when_bright())
    with Load(stack.service, CROWD // 3, picture(250)):
        yield


def service_overrun(stack: Stack) -> Begun:
    """More senders of such pictures than it answers, of whom each waits for as long as it is told."""
    with Load(stack.service, CROWD, picture(250)):
        yield


def service_slow_now_and_then(stack: Stack) -> Begun:
    """One time of twelve the pictures are bright: halfway between the burn of hours and that of minutes."""
    stack.traffic.bright_steps = 12
    yield
    stack.traffic.bright_steps = 0


def registry_unread(stack: Stack) -> Begun:
    """Half of an entry is in the ledger, until it is restored."""
    newest = max((stack.settings.registry / "articles" / "ledger").glob("*.json"))
    said = json.loads(newest.read_text())
    said |= {"number": said["number"] + 1, "event": "rejected", "before": said["champion"]}
    path = newest.with_name(f"{said['number']:08}.json")
    path.write_text("{")
    yield
    restored = path.with_suffix(".new")
    restored.write_text(json.dumps(said))
    restored.replace(path)


def swap_failing(stack: Stack) -> Begun:
    """The new champion's file was damaged on its disk."""
    known = add(stack, "articles", "damaged")
    before, _ = known.live()
    path = stack.settings.registry / "articles" / "versions" / "damaged" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    Ledger(LocalStore(stack.settings.registry), "articles").write(
        lambda _: ("promoted", "damaged", "damaged"), {}
    )
    yield
    known.rollback(before)


def log_dropped(stack: Stack) -> Begun:
    """A file is where the prediction log's folder was."""
    folder = stack.settings.landing / "serving"
    stack.until(folder.exists, "the first file of the log")
    aside = folder.rename(folder.with_name(".serving"))
    folder.touch()
    yield
    folder.unlink()
    aside.rename(folder)
