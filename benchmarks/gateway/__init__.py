"""Questions about whole answers: a client, the gateway and both services."""
