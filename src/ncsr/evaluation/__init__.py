"""Measuring models, or anybody's images, by one protocol: tables, files and pages of results."""
