"""The options of a request, in groups; ``request.py`` gathers them."""
