"""What Grafana is told: dashboards and alerting from one source, as files and over its API."""
