"""The commands of ``animatediff``, one file each."""
