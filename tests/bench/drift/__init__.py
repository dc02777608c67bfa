"""The parts of `task bench:detect` and `task bench:drift`."""
