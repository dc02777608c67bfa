"""The parts of `task bench:serve`: contenders, load, and one module for each kind of measurement."""
