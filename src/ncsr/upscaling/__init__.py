"""Photographs in, enlarged photographs out."""
