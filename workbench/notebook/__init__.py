"""Executes notebooks and reports on them."""
