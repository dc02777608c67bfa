"""A server that speaks EMR Serverless and EMR on EC2 well enough for boto3, and really runs the job.

Requests and answers are held against botocore's own model of both services. A job is a Spark of this
environment's version in a process of its own, which finds nothing but what the request names in S3.
Tests make faults through `EmrServer.faults` and ask `EmrServer.ledger` what was started and what still runs.
"""

from tests.stack.emr_server.server import EmrServer, emr_server
from tests.stack.emr_server.spark import S3Place

__all__ = ["EmrServer", "S3Place", "emr_server"]
