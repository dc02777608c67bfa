"""A Grafana for tests, and the description that its talk is checked against."""
