"""What the services and the offline part share: settings, errors, telemetry, the release and its parts."""
