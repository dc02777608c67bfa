"""From the outbox to the receiver: one thread, one message after another, until it arrives or is too old."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from observability.slack.items import ITEMS, lasting, lateness, message_of
from observability.slack.message import Message
from observability.slack.outbox import Outbox, Waiting
from observability.slack.senders import Answer, Sender

LOG = logging.getLogger("watchkeeper.slack")
LONGEST_BACKOFF = 60.0
"""Seconds between two attempts where the receiver does not say more."""
CLOSING_SECONDS = 15.0
"""For an attempt that is under way when the process is told to end."""


class Delivery:
    """Empties an outbox.

    Args:
        outbox: of messages.
        sender: None where there is no address yet: messages are kept.
        clock: seconds since 1970, as the outbox's.
        poll: seconds of real time between two looks at the clock.
    """

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender | None,
        clock: Callable[[], float] = time.time,
        poll: float = 1.0,
    ) -> None:
        self.outbox, self.sender = outbox, sender
        self.outcomes: Counter[str] = Counter()
        self._clock, self._poll = clock, poll
        self._sent: int | None = None
        self._said = ""
        self._over, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        if self.sender is None:
            LOG.warning("there is no address for messages: they are kept until the settings name one")
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Something new waits."""
        self._wake.set()

    def close(self) -> None:
        """Deliver no more; what waits is kept."""
        self._over.set()
        self._wake.set()
        self._thread.join(CLOSING_SECONDS)

    def step(self) -> bool:
        """Try the next message if it is due; whether the one after it may be tried at once.

        Raises:
            sqlite3.Error: the outbox cannot be read or written; nothing is lost.
        """
        waiting = self.outbox.next()
        if waiting is not None and waiting.number != self._sent and self.outbox.is_stale(waiting):
            self._give_up(waiting)
            return True
        if waiting is None or self.sender is None or waiting.due > self._clock():
            return False
        if waiting.number != self._sent:
            answer = self._try(self.sender, waiting)
            if answer.outcome == "later":
                self._postpone(waiting, answer)
                return False
            # Should the disk refuse the next line, then this process at least does not send it again.
            self._sent = waiting.number
        self.outbox.end(waiting.number)
        return True

    def _give_up(self, waiting: Waiting) -> None:
        self.outbox.end(waiting.number)
        self.outcomes["expired"] += 1
        waited = lasting(self._clock() - waiting.added)
        LOG.error("message %d waited for %s in vain and is given up", waiting.number, waited)

    def _try(self, sender: Sender, waiting: Waiting) -> Answer:
        try:
            items = ITEMS.validate_json(waiting.items)
            message = message_of(items, lateness(items, waiting.added, self._clock()))
        except (ValueError, OverflowError) as error:  # one that can never be written would stop all others
            answer = Answer("refused", f"it cannot be put into words: {type(error).__name__}")
        else:
            answer = sender.send(message)
            if (
                answer.outcome == "refused"
            ):  # for its parts, it may be: a page in one line is better than none
                LOG.warning("message %d was refused: %s; its headline is tried", waiting.number, answer.why)
                answer = sender.send(Message(message.headline, []))
        self.outcomes[{"later": "retried"}.get(answer.outcome, answer.outcome)] += 1
        if answer.outcome == "delivered":
            self._said = ""
        elif answer.outcome == "refused":
            LOG.error("message %d was refused and is not tried again: %s", waiting.number, answer.why)
        return answer

    def _postpone(self, waiting: Waiting, answer: Answer) -> None:
        wait = answer.after
        if wait is None:
            wait = min(LONGEST_BACKOFF, 2.0 ** min(waiting.attempts, 10))
        self.outbox.postpone(waiting.number, self._clock() + wait)
        if answer.why != self._said:
            LOG.warning("messages wait: %s; trying on", answer.why)
            self._said = answer.why

    def _run(self) -> None:
        while not self._over.is_set():
            self._wake.clear()
            try:
                went = self.step()
            except Exception as error:  # a full disk, above all; its text may have what was sent
                LOG.error("delivery failed: %s; trying on", type(error).__name__)
                went = False
            if not went:
                self._wake.wait(self._poll)
