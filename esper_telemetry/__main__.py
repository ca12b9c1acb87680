"""`python -m esper_telemetry`: the command line, where its script is not on the path."""

import sys

from esper_telemetry.commands import main

if __name__ == "__main__":
    sys.exit(main())
