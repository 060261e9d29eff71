"""The gateways that the playground asks, through the project's own client."""
