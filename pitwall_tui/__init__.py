"""pitwall: a live race in which every car is a generation request."""

__version__ = "0.1.0"
