"""What watches: every metric's declaration, how facts are emitted, and the watch's own settings."""
