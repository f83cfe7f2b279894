"""The processes that draw: workers, their pools of loaded models, and their supervisor."""
