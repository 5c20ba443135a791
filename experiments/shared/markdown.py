"""Markdown that jobs write."""

import re


def escaped(text: str) -> str:
    """Text as Markdown that shows it as it is, in one line."""
    return re.sub(r"[\\`*<\[\]|~$&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))
