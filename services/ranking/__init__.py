"""The second stage: a cross-encoder and behavioural features, fused into a calibrated probability."""
