"""Bytes in and out: reading images, writing files whole or not at all, resizing and painting."""
