"""The claims of the paper, and what our results say of each: the number, its interval, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from animatediff.evaluation.paper.chart import Varied, number_in
from animatediff.evaluation.table1.page import main_judge
from animatediff.evaluation.table1.plan import CARRIED, OURS, TUNE, ZERO

Content = Mapping[str, Any]
"""What ``write_report`` wrote."""
LEARNED = 0.9
"""The share of prompts that move in the direction if a MotionLoRA learned its move."""


@dataclass(frozen=True)
class Finding:
    """What a result says of a claim.

    Attributes:
        measured: the number with its interval.
        agrees: whether it agrees with the paper; ``None`` if the result leaves it open.
    """

    measured: str
    agrees: bool | None


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        section: of the paper.
        text: the claim.
        experiment: name of the experiment's page.
        find: reads the result; ``None`` if this result does not have the number.
        if_not: why the result may differ, for the page where it does.
    """

    section: str
    text: str
    experiment: str
    find: Callable[[Content], Finding | None]
    if_not: str = ""


def share_text(share: Content) -> str:
    """Return a share with its interval."""
    low, high = 100 * share["low"], 100 * share["high"]
    return f"{100 * share['share']:.1f} % ({low:.1f} to {high:.1f} %, {share['total']} counted)"


def estimate_text(estimate: Content, *, digits: int = 3) -> str:
    """Return an estimate with its interval."""
    if estimate["value"] is None:
        return "none"
    value, low, high = (f"{estimate[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _apart(first: Content, second: Content) -> bool | None:
    """Return whether the first is higher or lower with intervals apart; ``None`` if they overlap."""
    if first["low"] > second["high"]:
        return True
    return False if first["high"] < second["low"] else None


def _above(number: Content, limit: float) -> bool | None:
    """Return whether a whole interval is above a limit or below it; ``None`` if it includes it."""
    return _apart(number, {"low": limit, "high": limit})


def _transfer(content: Content) -> Finding:
    ratios = {n: m["flow_to_reference"] for n, m in content["report"]["personalised"].items()}
    text = "; ".join(f"{name} {estimate_text(ratio)}" for name, ratio in ratios.items())
    verdicts = [_above(ratio, 0.5) for ratio in ratios.values()]
    agrees = True if all(verdicts) else False if False in verdicts else None
    return Finding(f"flow over the base's: {text}", agrees)


def _order(column: str) -> Callable[[Content], Finding | None]:
    def find(content: Content) -> Finding | None:
        order = next((o for o in content["report"]["orders"] if o["column"] == column), None)
        if order is None:
            return None
        overall = content["report"]["overall"]
        parts = [f"{m} {estimate_text(overall[m][column], digits=2)}" for m in order["ours"]]
        pairs = _compared(content["report"], column)
        text = f"{main_judge(content)}: {' > '.join(parts)}; {_prompts(pairs)}"
        # Of three methods, only ours is compared in pairs; the order of the other two is not tested.
        signs = [_above(pair["result"]["difference"], 0) for pair in pairs]
        expected = [order["paper"].index(OURS) < order["paper"].index(p["second"]) for p in pairs]
        if any(s is not None and s != e for s, e in zip(signs, expected, strict=True)):
            return Finding(text, False)
        return Finding(text, True if order["agrees"] and signs == expected else None)

    return find


def _compared(report: Content, column: str, ours: str = OURS) -> list[Content]:
    """Ours against each baseline in one column, in pairs."""
    return [
        c
        for c in report["comparisons"]
        if (c["column"], c["first"]) == (column, ours) and c["second"] in (ZERO, TUNE)
    ]


def _prompts(pairs: Sequence[Content]) -> str:
    totals = {pair["result"]["difference"]["total"] for pair in pairs}
    return f"{', '.join(map(str, sorted(totals)))} prompts" if totals else "no pairs"


def _smooth_and_moving(ours: str) -> Callable[[Content], Finding | None]:
    def find(content: Content) -> Finding | None:
        report, overall = content["report"], content["report"]["overall"]
        if not report["orders"] or ours not in overall:
            return None
        methods = [ours if method == OURS else method for method in report["orders"][0]["ours"]]
        smooth = {m: overall[m]["smooth"]["value"] for m in methods}
        flow = {m: overall[m]["flow"]["value"] for m in methods}
        first = max(smooth, key=smooth.__getitem__)
        least = min(flow, key=flow.__getitem__)
        moved = ", ".join(f"{m} {estimate_text(overall[m]['flow'], digits=2)} px" for m in methods)
        smoother, moving = (
            [_above(pair["result"]["difference"], 0) for pair in _compared(report, column, ours)]
            for column in ("smooth", "flow")
        )
        # None of a pair is one whose interval includes no difference.
        refuted = False in smoother or (bool(moving) and all(each is False for each in moving))
        shown = bool(smoother) and all(smoother) and least != ours
        return Finding(
            f"first on smooth ({main_judge(content)}): {first}; least moving: {least}; flow: {moved}; "
            f"{_prompts(_compared(report, 'smooth', ours))}",
            True if shown else False if refuted else None,
        )

    return find


def _user_rank(content: Content) -> Finding | None:
    report = content["report"]
    if report["fixtures"] or OURS not in report["ranks"]:
        return None
    smooth = {m: ranks["smooth"] for m, ranks in report["ranks"].items()}
    best = max(smooth, key=lambda m: smooth[m]["value"])
    text = ", ".join(f"{m} {estimate_text(r, digits=2)}" for m, r in smooth.items())
    return Finding(f"{text}; {report['participants']} participants", best == OURS)


def _watermark(content: Content) -> Finding:
    by_alpha = {float(a): m["marked"] for a, m in content["report"]["by_alpha"].items()}
    shares = [by_alpha[alpha]["share"] for alpha in sorted(by_alpha, reverse=True)]
    falls = all(b <= a for a, b in pairwise(shares)) and shares[-1] < shares[0]
    high, low = by_alpha[max(by_alpha)], by_alpha[min(by_alpha)]
    return Finding(
        f"scale {max(by_alpha):g}: {share_text(high)}; scale {min(by_alpha):g}: {share_text(low)}",
        falls if (apart := _apart(high, low)) else apart,
    )


def _without_adapter(content: Content) -> Finding | None:
    report = content["report"]
    if report["unadapted"] is None:
        return None
    lowest = min(report["by_alpha"], key=float)
    without, scaled = report["unadapted"]["marked"], report["by_alpha"][lowest]["marked"]
    return Finding(
        f"without: {share_text(without)}; with, at scale {float(lowest):g}: {share_text(scaled)}",
        _apart(without, scaled),
    )


def _quality_of_adapter(content: Content) -> Finding | None:
    by_alpha = {float(a): m for a, m in content["report"]["by_alpha"].items()}
    if any(marks.get("recognised") is None for marks in by_alpha.values()):
        return None
    high, low = (by_alpha[pick(by_alpha)]["recognised"] for pick in (max, min))
    text = f"concept recognised: scale 1 {share_text(high)}; scale 0 {share_text(low)}"
    return Finding(text, _apart(low, high))


def _transformer(content: Content) -> Finding | None:
    comparison = content["report"]["transformer_over_convolution"]
    if comparison is None:
        return None
    wins = comparison["flow_wins"]
    return Finding(f"nearer to the real clip's flow: {share_text(wins)}", _above(wins, 0.5))


def _convolution_frozen(content: Content) -> Finding | None:
    report = content["report"]
    if report["convolution"] is None:
        return None
    frozen, flow = report["convolution"]["frozen"], report["convolution"]["flow_to_reference"]
    return Finding(
        f"frozen: {share_text(frozen)}; flow over the real clips': {estimate_text(flow)}",
        _above(frozen, 0.5),
    )


def _with_number(content: Content, number: int, of: Varied) -> tuple[str, Content] | None:
    """Return name and marks of the MotionLoRA of this rank or from this many clips."""
    moves: Content = content["report"]["moves"]
    return next(((n, m) for n, m in moves.items() if number_in(n, of) == number), None)


def _moves_with(number: int, of: Varied) -> Callable[[Content], Finding | None]:
    def find(content: Content) -> Finding | None:
        measured = _with_number(content, number, of)
        if measured is None:
            return None
        name, marks = measured
        asked, without = marks["asked_way"], marks["base_asked_way"]
        return Finding(
            f"{name} moves in the direction: {share_text(asked)}; without it: "
            f"{share_text(without)}",
            _apart(asked, without),
        )

    return find


def _few_clips(content: Content) -> Finding | None:
    measured = _with_number(content, 5, "clips")
    found = _moves_with(5, "clips")(content)
    if measured is None or found is None:
        return None
    if found.agrees:
        return Finding(found.measured, agrees=False)
    # No clear effect is a failure only if the interval excludes a move that is learned.
    fails = measured[1]["asked_way"]["high"] < LEARNED
    return Finding(found.measured, True if fails else None)


def _together(content: Content) -> Finding | None:
    together = content["report"]["together"]
    if not together:
        return None
    name, marks = next(iter(together.items()))
    rates = ", ".join(f"{p} {estimate_text(rate)}" for p, rate in marks["rates"].items())
    return Finding(
        f"{name} shows both: {share_text(marks['both'])}; rates {rates}",
        _above(marks["both"], 0.5),
    )


def _control(content: Content) -> Finding | None:
    marks = content["report"]["hinted"]
    if marks is None:
        return None
    agreement, free = marks["agreement"], marks["free"]
    return Finding(
        f"F-score of lines with the hints': {estimate_text(agreement)}; without control: "
        f"{estimate_text(free)}; clips that follow the order: {share_text(marks['ordered'])}",
        _above(marks["ordered"], 0.5) if (apart := _apart(agreement, free)) else apart,
    )


CLAIMS: Sequence[Claim] = (
    Claim(
        "5.1",
        "One motion module animates personalised models that it was not trained with.",
        "transfer",
        _transfer,
    ),
    Claim(
        "5.2",
        "Text, by CLIP: Tune-A-Video, then Text2Video-Zero, then AnimateDiff.",
        "table1",
        _order("text"),
        "The judge, the prompts and the image models differ from the paper's.",
    ),
    Claim(
        "5.2",
        "Domain, by CLIP: AnimateDiff, then Text2Video-Zero, then Tune-A-Video.",
        "table1",
        _order("domain"),
        "The paper's supplement with the protocol is not published; references are drawn here with "
        "the same prompt and other seeds.",
    ),
    Claim(
        "5.2",
        "Smooth, by CLIP: AnimateDiff, then Tune-A-Video, then Text2Video-Zero.",
        "table1",
        _order("smooth"),
        "A method that moves less is smoother; see the flow beside it.",
    ),
    Claim(
        "5.2",
        "AnimateDiff is the smoothest without being the least moving.",
        "table1",
        _smooth_and_moving(OURS),
        "A method that moves less is smoother; see the flow beside it.",
    ),
    Claim(
        "5.2",
        "The same with its still carried along the motion, as the built-in model draws by default: "
        "the smoothest without being the least moving.",
        "table1",
        _smooth_and_moving(CARRIED),
        "Carrying is not in the paper. It sets the speed to that of real clips.",
    ),
    Claim("5.2", "Users rank AnimateDiff first on smoothness.", "study", _user_rank),
    Claim(
        "4.1, Fig. 6",
        "The watermark disappears as the adapter's scale falls.",
        "adapter",
        _watermark,
    ),
    Claim(
        "4.1, Fig. 6",
        "Without the adapter, the motion module learns the watermark.",
        "adapter",
        _without_adapter,
    ),
    Claim(
        "5.3, Fig. 6",
        "Visual quality rises as the adapter's scale falls.",
        "adapter",
        _quality_of_adapter,
        "The footage here differs from the image data only in its watermark and its compression.",
    ),
    Claim(
        "5.3",
        "The temporal Transformer models motion better than a convolution of equal size.",
        "module",
        _transformer,
        "Both were trained for few steps on short clips of one kind.",
    ),
    Claim(
        "5.3",
        "With a temporal convolution, frames become identical and nothing moves.",
        "module",
        _convolution_frozen,
        "The convolution here is our construction, with residual layers of equal size, and clips are "
        "short and simple.",
    ),
    Claim(
        "5.3, Fig. 7",
        "A MotionLoRA of rank 2 learns a camera move.",
        "motion-lora-rank",
        _moves_with(2, "rank"),
        "The move is small, because the image model only draws things in the middle.",
    ),
    Claim(
        "5.3, Fig. 7",
        "A MotionLoRA learns a camera move from 50 clips.",
        "motion-lora-clips",
        _moves_with(50, "clips"),
    ),
    Claim(
        "5.3, Fig. 7",
        "5 clips are too few for a MotionLoRA.",
        "motion-lora-clips",
        _few_clips,
        "Clips of the built-in world are simple: one thing on white, filmed by the same rule.",
    ),
    Claim(
        "4.3",
        "Two MotionLoRAs compose: their sum shows both moves.",
        "composition",
        _together,
    ),
    Claim(
        "5.4",
        "A control network steers animations without more training of the motion module.",
        "control",
        _control,
        "Lines of small pictures carry little; see the numbers.",
    ),
)
