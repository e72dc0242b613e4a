"""The publishers: `registry` finds them; `folder`, `webhook` and `null` are publishers."""
