"""The paper's tables and figures, from your models."""
