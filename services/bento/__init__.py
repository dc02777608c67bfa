"""The model service: predictor, registry, gate and packaging arrive with the first model."""
