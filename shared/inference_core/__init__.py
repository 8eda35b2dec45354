"""The inference core every tier stands on: numpy and ONNX Runtime, nothing of HTTP or Azure."""
