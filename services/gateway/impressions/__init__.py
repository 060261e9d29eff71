"""The log of what was shown, and of the events that followed."""
