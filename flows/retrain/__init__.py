"""Retraining: from a lake snapshot to a champion that is truly better."""

import os

# Before anything imports Keras, whatever ~/.keras says.
os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
