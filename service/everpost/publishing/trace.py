"""A publisher's reports of its progress: the evidence if an outcome stays unknown."""

import msgspec

from everpost.task.model import BytesSent, Evidence, SendPhase

LONGEST_WORDS = 1_000  # characters kept of a report


class SendTrace(msgspec.Struct):
    """Takes a publisher's reports while it sends. Reporting is optional, and only used if the outcome stays unknown."""

    phase: SendPhase = SendPhase.SENDING
    bytes_sent: BytesSent = BytesSent.NOT_KNOWN
    last_words: str | None = None

    def nothing_sent(self) -> None:
        """Nothing has been sent to the platform yet; the publisher promises to report when that changes."""
        self.bytes_sent = BytesSent.NO

    def sending(self, words: str | None = None) -> None:
        """The first byte is about to be sent."""
        self.bytes_sent = BytesSent.YES
        self.say(words)

    def answered(self, words: str | None = None) -> None:
        """The platform has begun to answer."""
        self.phase, self.bytes_sent = SendPhase.ANSWERED, BytesSent.YES
        self.say(words)

    def say(self, words: str | None) -> None:
        """Anything that helps a person to decide; the last call counts."""
        self.last_words = _words_of(words) or self.last_words

    def evidence(self, error: str | None) -> Evidence:
        """The evidence for an attempt whose publisher raised `error` or nothing; the error is kept separately."""
        words = _words_of(self.last_words) or error
        if words is not None:
            words = storable_text(words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 1]}…")
        # A publisher may have set the attributes to anything.
        phase = self.phase if type(self.phase) is SendPhase else SendPhase.SENDING
        bytes_sent = self.bytes_sent if type(self.bytes_sent) is BytesSent else BytesSent.NOT_KNOWN
        return Evidence(phase=phase, bytes_sent=bytes_sent, last_words=words)


def storable_text(text: str) -> str:
    """The text without lone surrogates, which JSON and SQLite cannot hold; file names in Python may have them."""
    return text.encode(errors="replace").decode()


def _words_of(words: object) -> str | None:
    """The beginning of a report, as exactly a str; None if it is not a text."""
    return str.__getitem__(words, slice(LONGEST_WORDS + 1)) if isinstance(words, str) else None
