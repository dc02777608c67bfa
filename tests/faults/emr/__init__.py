"""A fault at each edge of an EMR job's life: never two jobs for a run, none left, the table right."""
