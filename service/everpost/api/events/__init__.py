"""Streams of events over HTTP; docs/events.md."""
