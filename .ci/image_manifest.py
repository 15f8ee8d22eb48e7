"""Checks that a manifest, on standard input, is one that Lambda accepts: of a single image, no list.

Source: Lambda developer guide, "Create a Lambda function using a container image".
"""

import json
import sys

SINGLE = {
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
}

manifest = json.load(sys.stdin)
kind = manifest.get("mediaType")
if kind not in SINGLE or "manifests" in manifest:
    sys.exit(f"Lambda refuses the manifest of type {kind}")
print(f"single manifest: {kind}, {len(manifest['layers'])} layer")
