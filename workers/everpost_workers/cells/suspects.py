"""What becomes of an attempt whose cell dies."""


class SuspectDiedError(Exception):
    """The cell died while it ran the attempt.

    Attributes:
        was_alone: The cell ran no other attempt.
    """

    def __init__(self, how: str, *, was_alone: bool) -> None:
        super().__init__(how)
        self.was_alone = was_alone
