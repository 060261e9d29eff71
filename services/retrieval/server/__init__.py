"""The gRPC server: messages in and out, batching, metrics."""
