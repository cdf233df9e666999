"""Pure drawing: parts of a RaceView and a size in, rows of spans out. No terminal library here.

Every function returns exactly `height` rows of exactly `width` cells, at any size.
"""
