"""Whether the world has changed: profiles of windows, their distances, the verdict. Pure functions."""
