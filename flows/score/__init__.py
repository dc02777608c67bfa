"""Batch scoring: the champion's answer to every picture below a folder or prefix, as a table of the lake.

It is the ETL's way with another job: what arrived, Spark, verdict, one commit, report. A picture is a source
file of its own; its score is made again when the picture, its id or the champion is another.
"""
