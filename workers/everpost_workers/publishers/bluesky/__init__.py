"""The publisher `bluesky`: posts on a PDS of the AT protocol (docs/platforms/bluesky.md)."""
