"""Evaluation questions, and runners that answer them: the engines in this process, or a gateway."""
