"""Animators as requests need them: one is loaded at a time, and requests are ordered by it."""

from __future__ import annotations

from collections.abc import Sequence

from animatediff.apps.many.plan import Item
from animatediff.apps.many.work import Drawn
from animatediff.apps.options.machine import suited
from animatediff.apps.progress import Progress
from animatediff.runtime import Runtime
from animatediff.sampling.animation import Progress as Step
from animatediff.sampling.animator import Animator
from animatediff.sampling.inputs import check_input_files
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.metadata import describe
from animatediff.sampling.request import AnimationRequest


class Studio:
    """Draws requests, and loads another model when a request needs one."""

    def __init__(self, runtime: Runtime, progress: Progress) -> None:
        self._runtime = runtime
        self._progress = progress
        self._animator: Animator | None = None
        self._needs: tuple[Loaded, Runtime] | None = None
        self._noted: set[str] = set()

    def animator_for(self, request: AnimationRequest) -> Animator:
        """The animator of a request; the one before it is let go."""
        runtime = suited(self._runtime, request)
        needs = (Loaded.of(request), runtime)
        if self._animator is None or needs != self._needs:
            self._animator = None  # Its memory is free before the next is read.
            self._progress.stage("load")
            self._animator = Animator.for_request(request, runtime=runtime)
            self._needs = needs
        check_input_files(request)
        return self._animator

    def resolved(self, request: AnimationRequest) -> AnimationRequest:
        """A request with every choice made that it leaves to the model."""
        return self.animator_for(request).resolved(request)

    def __call__(self, request: AnimationRequest) -> Drawn:
        """Draw a request."""
        animator = self.animator_for(request)
        current = ""

        def on_step(step: Step) -> None:
            nonlocal current
            if step.stage != current:
                current = step.stage
                self._progress.stage(step.stage, total=step.steps)
            self._progress.at(step.step)

        animation = animator.animate(request, on_step=on_step)
        for note in animation.report.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._progress.tell("note", note, {})
        return Drawn(
            animation.video, describe(animation.request, animation.report), animation.request
        )


def by_model(items: Sequence[Item]) -> list[Item]:
    """Items ordered so that each model is loaded once; otherwise in their own order."""
    groups: list[tuple[Loaded, list[Item]]] = []
    for item in items:
        needs = Loaded.of(item.request)
        same = next((group for known, group in groups if known == needs), None)
        if same is None:
            groups.append((needs, [item]))
        else:
            same.append(item)
    return [item for _, group in groups for item in group]
