"""Says in words what a text must look like that does not match a pattern: msgspec tells the pattern itself."""

from everpost.task.account_rules import CREDENTIAL_NAME, REFERENCE
from everpost.task.holds import NO_CONTROL

WORDS = {
    REFERENCE: "A credential is a reference, env:EVERPOST_ACCOUNT_NAME or file:NAME, and never the secret itself",
    CREDENTIAL_NAME: "A credential's name has letters, digits, underscores, dots and hyphens, and begins with no digit",
    NO_CONTROL: "It has characters that control a terminal",
}


def in_words(message: str) -> str:
    """The message of an error of msgspec, without patterns that have words."""
    for pattern, words in WORDS.items():
        if f"regex {pattern!r}" in message:
            return words
    return message
