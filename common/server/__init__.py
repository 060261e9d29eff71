"""What every server is made of: settings, gRPC, health, telemetry, the live release."""
