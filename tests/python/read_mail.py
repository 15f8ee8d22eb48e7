"""Prints a decoded mail: its headers, then the type, file name and text of each part. If the second
argument is a folder, writes the attachments to it."""

import email
import email.policy
import os
import sys

with open(sys.argv[1], "rb") as f:
    mail = email.message_from_binary_file(f, policy=email.policy.default)
for name, value in mail.items():
    print(f"{name}: {value}")
for part in mail.walk():
    if part.is_multipart():
        continue
    print(f"--- {part.get_content_type()} {part.get_filename() or ''}")
    if part.get_content_maintype() == "text":
        print(part.get_content())
    else:
        print(f"{len(part.get_content())} bytes")
        if len(sys.argv) > 2:
            with open(os.path.join(sys.argv[2], os.path.basename(part.get_filename())), "wb") as f:
                f.write(part.get_content())
