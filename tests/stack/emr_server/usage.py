"""What a job is billed for: the workers that it asked for, for as long as it really ran."""

import re

from tests.stack.emr_server.submission import Submission

MINIMUM_SECONDS = 60
"""The least that is billed."""
FREE_DISK_GB = 20
"""Of each worker; more than that is billed."""
UNITS = {"k": 2**-20, "m": 2**-10, "g": 1.0, "t": 2.0**10, "": 2.0**-30}


def gigabytes(size: str) -> float:
    """Spark's way of writing an amount of memory."""
    match = re.fullmatch(r"([\d.]+)\s*([kmgt]?)b?", size.strip().lower())
    if match is None:
        raise ValueError(f"{size!r} is no amount of memory")
    return float(match[1]) * UNITS[match[2]]


def billed(submission: Submission, seconds: float) -> dict[str, float]:
    """vCPU, memory and storage hours of driver and executors; the service's defaults where none are said."""
    conf = submission.conf
    hours = max(seconds, MINIMUM_SECONDS) / 3600
    executors = float(conf.get("spark.executor.instances", submission.option("--num-executors", "3")))
    cores = float(conf.get("spark.driver.cores", "4")) + executors * float(
        conf.get("spark.executor.cores", "4")
    )
    memory = gigabytes(conf.get("spark.driver.memory", "14g")) + executors * gigabytes(
        conf.get("spark.executor.memory", "14g")
    )
    disk = worker_disk(conf.get("spark.emr-serverless.driver.disk", "20g")) + executors * worker_disk(
        conf.get("spark.emr-serverless.executor.disk", "20g")
    )
    return {
        "vCPUHour": round(cores * hours, 3),
        # Spark's overhead of a tenth is part of a worker's memory.
        "memoryGBHour": round(memory * 1.1 * hours, 3),
        "storageGBHour": round(disk * hours, 3),
    }


def worker_disk(size: str) -> float:
    """Billed gigabytes of one worker's disk."""
    return max(gigabytes(size) - FREE_DISK_GB, 0)
