"""A stranger's ONNX file becomes a model folder, or is refused with the reason."""
