"""Who may call a server, and over which connections."""
