"""What runs, and when: Prefect flows and the plain functions that they call."""
