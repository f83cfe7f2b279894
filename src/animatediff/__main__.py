"""``python -m animatediff`` is the command line."""

import sys

from animatediff.apps.start import main

sys.exit(main())
