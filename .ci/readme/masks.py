"""What differs from run to run, made alike before two outputs are compared."""

import re

MASKS = [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| ?[+-]\d\d:\d\d)", "TIME"),
    # Microseconds since 1970: numbers of records, cursors, names of uploads.
    (r"\b1[6-9]\d{14}\b", "MICROSECONDS"),
    (r'"request_id":"[0-9a-f]{32}"', "REQUEST"),
    (r"\bauto-[0-9a-f]+-[0-9a-f]+\b", "CLIENT"),
    (r"\bbr[kd]_[\w-]+", "SECRET"),
    (r"\$argon2id\$v=19\$(m=\d+,t=\d+,p=\d+)\$\S+", r"ARGON2 \1"),
    (r"\b\d+(?:\.\d+)? s active", "SECONDS s active"),
]
SECRET = re.compile(r"\bbr[kd]_[\w-]+")


def masked(lines):
    """Without spaces at the end and empty lines around."""
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text)
    return text.split("\n")
