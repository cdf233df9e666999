"""Pages about pitwall, and the scripts that draw their pictures from the app itself."""
