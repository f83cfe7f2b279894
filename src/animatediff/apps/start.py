"""Where the process starts: nothing is imported before Ctrl-C is one sentence, as it is later on."""

import sys


def main() -> int:
    """Run this process's command line and return its exit code."""
    try:
        from animatediff.apps.cli import main as run
    except KeyboardInterrupt:
        print("animatediff: Stopped; nothing was written.", file=sys.stderr)
        return 130
    return run()
