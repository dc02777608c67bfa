"""From a bucket of messy files to a lake: land, transform on Spark, judge, commit."""
