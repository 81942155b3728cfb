"""Tensor in, tensor out: operations that PyTorch lacks, or has in a slower form."""
