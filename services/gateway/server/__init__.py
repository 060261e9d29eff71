"""The gRPC server: messages in and out, metrics."""
