"""Sampling: what depends on the weights alone, folded; latents by position."""
