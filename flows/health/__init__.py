"""Health: what `task exporter` runs."""
