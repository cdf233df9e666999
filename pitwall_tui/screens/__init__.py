"""Screens: which panels stand where, by the size of the terminal."""
