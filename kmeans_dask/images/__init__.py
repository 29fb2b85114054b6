"""Decoding and encoding of images, with Pillow and where it is wrong with other decoders."""
