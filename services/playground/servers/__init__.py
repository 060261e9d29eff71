"""The servers behind the playground: their state, and starting and stopping them on this machine."""
