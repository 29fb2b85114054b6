"""Colour spaces, palettes, and the mapping of pixels to palette entries."""
