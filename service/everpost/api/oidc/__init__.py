"""Signing in to the console by an identity provider (OpenID Connect), an extra."""
