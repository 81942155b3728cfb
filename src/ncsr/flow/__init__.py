"""The conditional flow: one bijection a file, composed into steps, levels and the whole."""
