"""The publishers: `registry` finds them; `folder`, `webhook`, `null`, `bluesky` and `mastodon` are publishers."""
