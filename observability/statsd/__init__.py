"""From StatsD to Prometheus: the mapping of statsd_exporter."""
