"""Reverse distillation: a decoder that makes the features of a frozen encoder from a narrow code."""
