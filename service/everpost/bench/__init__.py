"""`everpost bench`: measures how fast Everpost is, with its own load generator and its own count; run.py starts it."""
