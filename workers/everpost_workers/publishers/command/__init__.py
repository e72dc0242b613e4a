"""The publisher `command`: any program uploads the post; see docs/platforms/command.md for what it reads and writes."""
