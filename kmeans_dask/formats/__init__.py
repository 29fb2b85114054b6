"""Image file formats: what their headers say, their samples, and their colours as sRGB."""
