"""What C code prints on stderr is a line of the log; our own lines go where they went."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging, os, sys
from esper_telemetry.daemon.logs import start_logging
from esper_telemetry.daemon.native_log import native_log
start_logging("text", "info")
with native_log():
    os.write(2, b"I1129 08:45:20.704020    1136 some_place.cc:2563] Handshake failed\\n")
    os.write(2, b"something else\\n")
    logging.getLogger("esper_telemetry").info("ours")
    sys.stderr.write("a print\\n")
    subprocess = os.system("echo a child >&2")
logging.getLogger("esper_telemetry").info("after")
os.write(2, b"raw again\\n")
"""


def test_every_line_is_there_once_in_the_form_of_the_log():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = ended.stderr.splitlines()
    assert lines[-1] == "raw again"
    told = sorted(line.split(" ", 1)[1] for line in lines[:-1])
    assert told == [
        "INFO Handshake failed",
        "INFO after",
        "INFO ours",
        "WARNING a child",
        "WARNING a print",
        "WARNING something else",
    ]
