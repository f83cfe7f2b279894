"""The questions of ``animatediff evaluate``: what each loads and how it is answered."""
