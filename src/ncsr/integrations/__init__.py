"""Adapters that give the model the interfaces of other packages."""
