"""Parses every email under a folder with Python's strict policy, which raises an error at any defect,
and checks the limits of RFC 5322: lines of at most 998 bytes, header lines of at most 78, CRLF. Lines of
the text have at most 78 characters, unless they have a command or a word that cannot be broken.

    python strict_mail.py FOLDER

Prints the number of mails.
"""

import email
import email.policy
import pathlib
import sys

STRICT = email.policy.default.clone(raise_on_defect=True)
mails = sorted(pathlib.Path(sys.argv[1]).rglob("*.eml"))
for path in mails:
    raw = path.read_bytes()
    assert b"\n" not in raw.replace(b"\r\n", b""), f"{path}: a line ends without CR"
    assert b"\r" not in raw.replace(b"\r\n", b""), f"{path}: a CR without LF"
    head = raw.split(b"\r\n\r\n", 1)[0]
    for line in head.split(b"\r\n"):
        assert len(line) <= 78, f"{path}: a header line of {len(line)} bytes: {line}"
        assert line.isascii(), f"{path}: {line}"
    for line in raw.split(b"\r\n"):
        assert len(line) <= 998, f"{path}: a line of {len(line)} bytes"
    mail = email.message_from_bytes(raw, policy=STRICT)
    for name, value in mail.items():
        assert not value.defects, f"{path}: {name}: {value.defects}"
    for part in mail.walk():
        assert not part.defects, f"{path}: {part.get_content_type()}: {part.defects}"
        if part.is_multipart():
            continue
        content = part.get_content()
        if part.get_content_type() == "text/plain":
            for line in content.splitlines():
                whole = "rowmill run" in line or any(len(word) > 60 for word in line.split())
                assert len(line) <= 78 or whole, f"{path}: a line of {len(line)} characters: {line}"
print(len(mails))
