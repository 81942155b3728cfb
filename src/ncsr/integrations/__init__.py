"""The model in the terms of other packages."""
