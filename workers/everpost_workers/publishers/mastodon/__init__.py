"""The publisher `mastodon`: posts on servers with Mastodon's client API (docs/platforms/mastodon.md)."""
