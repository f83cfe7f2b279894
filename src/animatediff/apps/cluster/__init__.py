"""Many machines through Ray: who does the work, and how a batch and a build are split."""
