"""Kernels: forked, provisioned, ended."""
