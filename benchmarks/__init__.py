"""Fleets of images, and what it costs mmgraph and others to mirror them. The package imports none of it."""
