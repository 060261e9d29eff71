"""The three gRPC services: retrieval finds candidates, ranking scores them, the gateway calls both."""
