"""aiohttp as it is imported: nothing is read on the way, and nothing of the process is changed by it."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import os
os.environ["SSL_CERT_FILE"] = "/some/file"
os.environ.pop("SSL_CERT_DIR", None)
before = dict(os.environ)
import mmgraph.registry.client
from aiohttp.connector import _SSL_CONTEXT_UNVERIFIED, _SSL_CONTEXT_VERIFIED
print(_SSL_CONTEXT_VERIFIED.get_ca_certs() + _SSL_CONTEXT_UNVERIFIED.get_ca_certs(), before == dict(os.environ))
"""


def test_its_own_contexts_trust_nobody() -> None:
    """No authority is read while it is imported, and the environment is afterwards what it was."""
    run = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert "[] True\n" == run.stdout
