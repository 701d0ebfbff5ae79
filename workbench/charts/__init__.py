"""Figures of runs, and the theme of all figures."""
