"""Exact, distributed k-means colour quantisation for collections of images."""

__version__ = "0.1.0"
