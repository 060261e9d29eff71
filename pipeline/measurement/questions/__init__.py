"""Questions asked of a release, and who answers them: its engines here, or a gateway."""
