"""Streams in, one synchronised observation out."""
