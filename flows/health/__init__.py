"""Health: what asks, watches and begins again."""
