"""Counts characters as people see them: an emoji of several code points, or a letter with marks, is one."""


def count_graphemes(text: str) -> int:
    """The number of extended grapheme clusters (Unicode Standard Annex 29)."""
    if text.isascii() and "\r\n" not in text:
        return len(text)
    import regex  # noqa: PLC0415 - it takes memory, which only posts with other characters need

    return sum(1 for _ in regex.finditer(r"\X", text))
