"""The dataset: its tables, report, temporal split and training requests."""
