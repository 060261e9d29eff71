"""The three gRPC services: retrieval finds candidates, ranking chooses, the gateway stitches the two."""
