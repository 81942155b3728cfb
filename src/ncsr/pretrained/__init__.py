"""Models from files: bundled ones, published checkpoints, and out again as ONNX."""
