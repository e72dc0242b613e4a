"""How far an attempt has come, in its publisher's own words: the evidence of an outcome nobody knows."""

import msgspec

from everpost.task.model import BytesSent, Evidence, SendPhase

LONGEST_WORDS = 1_000  # characters kept of what a publisher said


class SendTrace(msgspec.Struct):
    """What a publisher tells while it sends; telling is free to do, and of use only if the outcome is never known."""

    phase: SendPhase = SendPhase.SENDING
    bytes_sent: BytesSent = BytesSent.NOT_KNOWN
    last_words: str | None = None

    def nothing_sent(self) -> None:
        """Nothing has left for the platform so far; the publisher promises to tell when that changes."""
        self.bytes_sent = BytesSent.NO

    def sending(self, words: str | None = None) -> None:
        """The first byte is about to leave."""
        self.bytes_sent = BytesSent.YES
        self.say(words)

    def answered(self, words: str | None = None) -> None:
        """The platform has begun to answer."""
        self.phase, self.bytes_sent = SendPhase.ANSWERED, BytesSent.YES
        self.say(words)

    def say(self, words: str | None) -> None:
        """Anything a person would want to know; the last word counts."""
        self.last_words = _words_of(words) or self.last_words

    def evidence(self, error: str | None) -> Evidence:
        """What is known of an attempt whose publisher raised `error`, or nothing; that is kept beside it anyway."""
        words = _words_of(self.last_words) or error
        if words is not None:
            words = storable_text(words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 1]}…")
        # A publisher may have put anything into the attributes.
        phase = self.phase if type(self.phase) is SendPhase else SendPhase.SENDING
        bytes_sent = self.bytes_sent if type(self.bytes_sent) is BytesSent else BytesSent.NOT_KNOWN
        return Evidence(phase=phase, bytes_sent=bytes_sent, last_words=words)


def storable_text(text: str) -> str:
    """The text without lone surrogates, which neither JSON nor SQLite takes; file names decoded by Python have them."""
    return text.encode(errors="replace").decode()


def _words_of(words: object) -> str | None:
    """The beginning of what a publisher said, as exactly a str; None of what is no text."""
    return str.__getitem__(words, slice(LONGEST_WORDS + 1)) if isinstance(words, str) else None
