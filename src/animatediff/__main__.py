"""``python -m animatediff`` is the command line."""

import sys

from animatediff.apps.cli import main

sys.exit(main())
