"""The gRPC server: RPC methods, messages, metrics."""
