"""Metrics for Prometheus: requests, jobs, workers and the store."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "animatediff_requests",
            "HTTP requests.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "animatediff_request_seconds",
            "Time to answer an HTTP request.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._jobs = Gauge("animatediff_jobs", "Jobs by state.", ("state",), registry=self.registry)
        self._crashes = Counter(
            "animatediff_worker_crashes", "Workers that crashed.", registry=self.registry
        )
        self._workers = Gauge("animatediff_workers", "Live workers.", registry=self.registry)
        self._bytes = Gauge(
            "animatediff_store_bytes", "Size of all stored files.", registry=self.registry
        )
        self._streams = Gauge(
            "animatediff_event_streams", "Open event streams.", registry=self.registry
        )

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        method = method if method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "PUT") else "other"
        self._requests.labels(method, route, str(status)).inc()
        if not route.endswith("/events") and not route.startswith("/sdapi"):  # those wait
            self._seconds.labels(route).observe(seconds)

    def crashed(self) -> None:
        """Count one crash of a worker."""
        self._crashes.inc()

    def text(self, *, jobs: Mapping[str, int], workers: int, stored: int, streams: int) -> bytes:
        """All metrics in the text format of Prometheus."""
        for state, count in jobs.items():
            self._jobs.labels(state).set(count)
        self._workers.set(workers)
        self._bytes.set(stored)
        self._streams.set(streams)
        return generate_latest(self.registry)
