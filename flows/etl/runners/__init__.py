"""Where Spark runs: one adapter a file behind the small interface of `base`."""
