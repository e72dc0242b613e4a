"""The peers Everpost is compared with, each in an environment of its own."""
