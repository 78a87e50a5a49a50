"""Incus: the requests pikaci makes, images, guests and what lies in them."""
