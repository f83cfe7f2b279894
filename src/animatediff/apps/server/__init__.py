"""The service behind ``animatediff serve``: a queue, worker processes, an HTTP API and a page."""
