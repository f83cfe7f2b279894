"""Average user rank: for each participant and item 4 - rank of three methods, so 3 is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from animatediff.errors import InputError
from animatediff.evaluation.intervals import Estimate, mean_of
from animatediff.evaluation.paired import Paired, paired, with_holm
from animatediff.evaluation.reports import Row
from animatediff.evaluation.study.answers import FIXTURE, Participant
from animatediff.evaluation.study.design import ASPECTS, Study
from animatediff.evaluation.table1.plan import OURS


@dataclass(frozen=True)
class RankTest:
    """One method's user rank minus another's, paired by participant."""

    aspect: str
    first: str
    second: str
    result: Paired


@dataclass(frozen=True)
class StudyReport:
    """Average user ranks.

    Attributes:
        study: name of the study.
        items: number of prompts that each participant ranked.
        participants: how many count.
        inattentive: how many failed the attention check and are left out.
        fixtures: how many of those that count were made up for a test.
        ranks: by method and aspect, with an interval from resampling participants.
        tests: AnimateDiff against every other method.
    """

    study: str
    items: int
    participants: int
    inattentive: int
    fixtures: int
    ranks: Mapping[str, Mapping[str, Estimate]]
    tests: tuple[RankTest, ...]

    def rows(self) -> tuple[Row, ...]:
        """Return the rows of its table."""
        rows = [
            Row("participants", str(self.participants)),
            Row("left out by the attention check", str(self.inattentive)),
        ]
        if self.fixtures:
            rows.append(Row("of the participants, made up for a test", str(self.fixtures)))
        rows += [
            Row(f"{method}: user rank, {aspect}", str(estimate))
            for method, aspects in self.ranks.items()
            for aspect, estimate in aspects.items()
        ]
        rows += [
            Row(
                f"{test.first} minus {test.second}: {test.aspect}",
                f"{test.result.difference}; p = {test.result.p:.4f}, Holm {test.result.p_holm:.4f}",
            )
            for test in self.tests
        ]
        return tuple(rows)


def report_study(study: Study, participants: Sequence[Participant]) -> StudyReport:
    """Add up answers. Participants who failed the attention check are left out.

    Raises:
        InputError: nobody is left.
    """
    counted = [person for person in participants if person.attentive]
    if not counted:
        raise InputError(
            f"The study {study.name} has no answers that count; {len(participants)} were collected. "
            "Collect some with `animatediff study collect` or `animatediff study serve`."
        )
    scores = {
        method: {aspect: [_score(p, method, aspect) for p in counted] for aspect in ASPECTS}
        for method in study.methods
    }
    others = [method for method in study.methods if method != OURS and OURS in study.methods]
    tests = [
        RankTest(
            aspect,
            OURS,
            other,
            paired(scores[OURS][aspect], scores[other][aspect], groups=range(len(counted))),
        )
        for other in others
        for aspect in ASPECTS
    ]
    corrected = with_holm([test.result for test in tests])
    return StudyReport(
        study=study.name,
        items=len(study.items),
        participants=len(counted),
        inattentive=len(participants) - len(counted),
        fixtures=sum(person.name.startswith(FIXTURE) for person in counted),
        ranks={
            method: {aspect: mean_of(values) for aspect, values in aspects.items()}
            for method, aspects in scores.items()
        },
        tests=tuple(
            RankTest(test.aspect, test.first, test.second, result)
            for test, result in zip(tests, corrected, strict=True)
        ),
    )


def _score(person: Participant, method: str, aspect: str) -> float:
    """Return a participant's mean score of a method: the number of methods + 1 - rank."""
    ranks = [item[aspect] for item in person.ranks.values()]
    return float(np.mean([len(each) + 1 - each[method] for each in ranks]))
