"""Parts of the fakes of the services behind the gateway."""
