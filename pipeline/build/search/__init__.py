"""Models and training examples of judged searches."""
