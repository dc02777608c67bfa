"""AWS beside the runners: what an account must have and allow, as `deployments/aws/stack.yaml` says it."""
