"""Programs for the publisher `command` that speak to well-known uploaders. They use only the standard library."""
