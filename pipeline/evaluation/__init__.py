"""Measuring a release: questions whose answers are known, the serving engines' answers, figures, and a report."""
