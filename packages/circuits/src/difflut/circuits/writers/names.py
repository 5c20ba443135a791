"""Names in what is written, so that several circuits fit into one program or design."""

import re
from collections.abc import Iterable


def check_prefix(prefix: str) -> None:
    """Refuses what cannot begin the name of a C function and of a Verilog module.

    Raises:
        ValueError: It is neither empty nor a letter followed by letters, digits and underscores.
    """
    if not re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)?", prefix):
        raise ValueError(
            f"prefix={prefix!r} must be empty, or a letter and then letters, digits and underscores, such as 'mnist_'"
        )


def prefixed(text: str, prefix: str, modules: Iterable[str]) -> str:
    """Verilog in which the modules of these names, defined or instantiated, have the prefix before their names."""
    if not prefix:
        return text
    names = "|".join(map(re.escape, modules))
    return re.sub(rf"^( *(?:module )?)({names})(?= (?:#|\w+ )?\()", rf"\g<1>{prefix}\g<2>", text, flags=re.MULTILINE)
