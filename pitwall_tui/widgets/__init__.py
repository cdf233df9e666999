"""Widgets: each shows the rows of one drawing, and repaints only the rows that changed."""
