"""Credentials of accounts: where references lead, and the encryption of rotated tokens. Only workers use them."""
