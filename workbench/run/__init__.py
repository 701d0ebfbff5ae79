"""Runs a chain of notebooks: verification, reuse, resume, crash recovery, retention."""
