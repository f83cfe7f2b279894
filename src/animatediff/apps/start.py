"""Start of the process: handles Ctrl-C before anything large is imported."""

import sys


def main() -> int:
    """Run this process's command line and return its exit code."""
    try:
        from animatediff.apps.cli import main as run
    except KeyboardInterrupt:
        print("animatediff: Stopped; nothing was written.", file=sys.stderr)
        return 130
    return run()
