"""Image files: how they are decoded, palettes, how indexed PNGs are written, quality."""
