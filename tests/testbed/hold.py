"""Holds a file of the server open as a Windows program does that lets nobody else at it. Ends when it is killed.

usage: hold.py FILE. For the distribution's own Python, which has Samba's client library.
"""

from __future__ import annotations

import signal
import sys

from samba.credentials import Credentials  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]
from samba.samba3 import libsmb_samba_internal, param  # type: ignore[import-not-found]

_CONFIGURATION = "/run/samba/smb.conf"
_READ_AND_WRITE = 0x3
_SHARED_WITH_NOBODY = 0
_OPEN_EXISTING = 1

parameters, client_parameters = LoadParm(), param.get_context()
parameters.load(_CONFIGURATION)
client_parameters.load(_CONFIGURATION)
credentials = Credentials()
credentials.guess(parameters)
credentials.set_username("root")
credentials.set_password("secret")
connection = libsmb_samba_internal.Conn("10.99.0.1", "scans", client_parameters, credentials)
connection.create(sys.argv[1], DesiredAccess=_READ_AND_WRITE, ShareAccess=_SHARED_WITH_NOBODY, CreateDisposition=_OPEN_EXISTING)
print("held", flush=True)
signal.pause()
