"""The cross-encoder: its ONNX model, scoring of pairs, explanations."""
