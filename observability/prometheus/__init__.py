"""What Prometheus is told: rules, and the files that are made of them."""
