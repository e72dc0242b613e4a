"""The parts of the browser tests: a running Everpost, Chromium, a proxy with TLS, and what is checked of every page."""
