"""The study's page: one HTML file with everything in it, which works from a file and served."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from animatediff.errors import FileError, reason_of
from animatediff.evaluation.presenting.html_page import html_page, write_text
from animatediff.evaluation.study.design import ASPECTS, CHECK, PAGE, QUESTIONS, Study, StudyItem

MOST_BYTES = 256 << 20
"""Of all animations together: what a browser still opens."""
_STYLE = """<style>
.videos { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
figure { margin: 0; } figure img { width: 16rem; height: 16rem; object-fit: contain; }
.prompt { font-size: 1.1rem; font-weight: 600; }
fieldset { border: 1px solid var(--line); margin: .6rem 0; }
label { margin-right: 1.5rem; } button { font-size: 1rem; padding: .4rem 1.2rem; }
</style>"""


def write_study_page(study: Study, folder: Path, *, animations: Path) -> Path:
    """Write the page of a study; nothing in it names a method.

    Args:
        study: what is shown.
        folder: of the study.
        animations: the folder of Table 1's page, which has the animations.

    Raises:
        FileError: an animation is missing, or all together are too large for a page.
        OutputError: it cannot be written.
    """
    files: dict[str, str] = {}
    total = 0

    def embedded(path: str, name: str) -> str:
        nonlocal total
        data = _read(animations / path)
        total += len(data)
        if total > MOST_BYTES:
            raise FileError(
                f"The study's animations have more than {MOST_BYTES >> 20} MiB together; show fewer "
                "prompts with --per-model."
            )
        files[name] = "data:image/webp;base64," + base64.b64encode(data).decode()
        return name

    def shown(item: StudyItem) -> dict[str, object]:
        # A video's name in the page is as opaque as its key; paths would tell the method.
        videos = {name: embedded(path, name) for name, path in item.videos.items()}
        references = embedded(item.references, f"r{item.name}")
        return {
            "name": item.name,
            "prompt": item.prompt,
            "references": references,
            "videos": videos,
        }

    data = {
        "study": study.name,
        "aspects": ASPECTS,
        "questions": QUESTIONS,
        "check": study.check,
        "checkText": CHECK,
        "items": [shown(item) for item in study.items],
        "files": files,
    }
    # "</" would end the script element early.
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    parts = [
        _STYLE,
        "<p>You will see videos side by side. For each question, rank them: 1 is best. "
        "Nothing about you is recorded except your ranks and the time.</p>",
        "<noscript><p>This page needs JavaScript.</p></noscript>",
        '<div id="study"></div>',
        f'<script type="application/json" id="data">{text}</script>',
    ]
    script = Path(__file__).with_name("study.js").read_text(encoding="utf-8")
    return write_text(html_page("Which video is better?", parts, script=script), folder / PAGE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(
            f"{path} cannot be read ({reason_of(error)}); run `animatediff evaluate table1` again."
        ) from None
