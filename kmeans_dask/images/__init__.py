"""Decoding and encoding of images, with Pillow, or with other decoders where Pillow is wrong."""
