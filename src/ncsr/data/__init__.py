"""Photographs in, training crops out."""
