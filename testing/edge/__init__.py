"""What tests and benchmarks of several replicas need: DNS, and Envoy in front."""
