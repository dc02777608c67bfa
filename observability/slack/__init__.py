"""From what fires and what flows tell to the people: the relay, its outbox, and the dead-man's watcher."""
