"""Nodes: processor, memory, disk and clock of each machine, by node-exporter."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from observability.grafana.dashboards.panels import Bound, board, series

DISKS = '{fstype!~"tmpfs|overlay|squashfs|ramfs"}'


def render() -> Dashboard:
    """The dashboard."""
    return board(
        "nodes",
        "Nodes",
        "What node-exporter says of each machine.",
        {
            "Processor and memory": [
                series(
                    "Processor time used",
                    "Share of all cores over five minutes.",
                    "percentunit",
                    {"{{instance}}": '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))'},
                    [Bound("NodeCpuSaturated", 0.95)],
                    span=8,
                ),
                series(
                    "Load",
                    "Processes that run or wait, by core.",
                    "none",
                    {
                        "{{instance}}": (
                            "max by (instance) (node_load5) / on (instance) "
                            'count by (instance) (node_cpu_seconds_total{mode="idle"})'
                        )
                    },
                    span=8,
                ),
                series(
                    "Memory available",
                    "Share of all.",
                    "percentunit",
                    {
                        "{{instance}}": (
                            "max by (instance) (node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)"
                        )
                    },
                    [Bound("NodeMemoryLow", 0.05, below=True)],
                    span=8,
                ),
            ],
            "Disk": [
                series(
                    "Free",
                    "Share of each file system.",
                    "percentunit",
                    {
                        "{{instance}} {{mountpoint}}": (
                            "min by (instance, mountpoint) (watchkeeper:node_disk_free:ratio)"
                        )
                    },
                    [Bound("NodeDiskFull", 0.05, below=True)],
                ),
                series(
                    "Free in a day",
                    "As the last six hours would have it; NodeDiskFilling fires below zero where under 40% "
                    "is free.",
                    "bytes",
                    {
                        "{{instance}} {{mountpoint}}": (
                            f"min by (instance, mountpoint) "
                            f"(predict_linear(node_filesystem_avail_bytes{DISKS}[6h], 86400))"
                        )
                    },
                    [Bound("NodeDiskFilling", 0, below=True)],
                ),
            ],
            "Network and clock": [
                series(
                    "Network",
                    "Bytes a second over five minutes.",
                    "Bps",
                    {
                        "{{instance}} in": ("sum by (instance) (rate(node_network_receive_bytes_total[5m]))"),
                        "{{instance}} out": (
                            "sum by (instance) (rate(node_network_transmit_bytes_total[5m]))"
                        ),
                    },
                    span=8,
                ),
                series(
                    "Clock",
                    "How far it is from its time servers.",
                    "s",
                    {"{{instance}}": "max by (instance) (abs(node_timex_offset_seconds))"},
                    [Bound("NodeClockSkew", 0.05)],
                    span=8,
                ),
                series(
                    "Up",
                    "Time since it was started.",
                    "s",
                    {"{{instance}}": "max by (instance) (time() - node_boot_time_seconds)"},
                    span=8,
                ),
            ],
        },
    )
