"""The end of a build: the tables up to the last event, what was left out, the model card."""
