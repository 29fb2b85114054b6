"""Image file formats: readers of headers and samples, and conversion of colours to sRGB."""
