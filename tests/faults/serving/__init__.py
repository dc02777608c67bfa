"""The service under hostile inputs and killed workers, while good requests go on."""
