"""Start the child: these few files become a package, and nothing else of ours can be imported."""

import importlib
import sys
import types

HOME = "animatediff.weights.storage.legacy_child"

if __name__ == "__main__":
    for name in ("animatediff", "animatediff.weights", "animatediff.weights.storage", HOME):
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = [__file__.removesuffix("__main__.py")] if name == HOME else []
    sys.exit(importlib.import_module(f"{HOME}.process").main(sys.argv[1:]))
