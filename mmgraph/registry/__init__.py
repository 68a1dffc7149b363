"""Registries over the wire: protocol rules, credentials, tokens, limits, and the client that joins them."""
