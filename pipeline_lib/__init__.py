"""The helper library of the five notebooks."""
