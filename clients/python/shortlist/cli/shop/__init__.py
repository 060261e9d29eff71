"""Commands that change what the shop shows."""
