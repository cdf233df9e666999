"""Kernels: for each, a reference in torch."""
