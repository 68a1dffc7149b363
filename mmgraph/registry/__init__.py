"""Registries over the wire: the protocol's rules, credentials, tokens, limits, and the client that joins them."""
