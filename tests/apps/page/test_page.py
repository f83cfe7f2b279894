"""The page in a real browser: what a person does with it, by mouse, keyboard and phone."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from tests.apps.page.service import Served

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

WAIT = 45_000
DROP = """([name, type, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const how = { dataTransfer: data, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent(kind, how));
  }
}"""


def generate(page: Any, prompt: str, *, seed: int = 0) -> None:
    page.fill("#prompt", prompt)
    page.fill("[data-field=seed] input", str(seed))
    page.press("#prompt", "Control+Enter")


def finished(page: Any, count: int = 1) -> None:
    until(
        page,
        "count => document.querySelectorAll('.queue-row.completed').length >= count",
        count,
    )


def until(page: Any, expression: str, argument: Any = None, *, animations: int = 1) -> None:
    """Wait until an expression is true; playwright's own way needs what the page's policy forbids."""
    end = time.monotonic() + animations * WAIT / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def unfold(page: Any) -> None:
    page.eval_on_selector_all(".folds details", "all => all.forEach((one) => (one.open = true))")
    until(
        page, "[...document.querySelectorAll('.fold-body')].every((one) => one.childElementCount)"
    )


def drop(page: Any, name: str, kind: str, data: bytes) -> None:
    page.evaluate(DROP, [name, kind, list(data)])


def newest(page: Any) -> dict[str, Any]:
    return page.evaluate("fetch('/api/v1/jobs?limit=1').then((a) => a.json())")["jobs"][0]


def test_a_prompt_becomes_an_animation_that_plays(page: Any) -> None:
    generate(page, "a fox in the snow", seed=7)
    page.wait_for_selector(".stage video", timeout=WAIT)
    until(page, "document.querySelector('.stage video').duration > 1")
    assert page.inner_text(".stage .frame-label").endswith("/ 16")
    assert newest(page)["request"] == {"prompt": "a fox in the snow", "seed": 7}


def test_a_page_over_http_from_another_machine_can_generate(page: Any) -> None:
    # Browsers have randomUUID over https and on this machine only.
    page.add_init_script("delete Crypto.prototype.randomUUID")
    page.reload()
    page.wait_for_selector("#prompt")
    assert page.evaluate("crypto.randomUUID === undefined")
    generate(page, "a fox far away", seed=7)
    finished(page)
    assert newest(page)["request"] == {"prompt": "a fox far away", "seed": 7}


def test_a_format_that_no_browser_shows_is_ordered_beside_one_that_is(page: Any) -> None:
    page.select_option(".format select", label="ProRes (MOV)")
    generate(page, "a fox for the editor")
    page.wait_for_selector(".stage video", timeout=WAIT)
    until(page, "document.querySelector('.stage video').duration > 1")
    assert newest(page)["formats"] == ["mp4", "prores"]
    assert page.locator(".stage-foot a.button").all_inner_texts() == ["MP4", "ProRes (MOV)"]


def test_an_event_that_overtakes_the_answer_is_kept(page: Any) -> None:
    def slowly(route: Any) -> None:
        answer = route.fetch()
        page.wait_for_timeout(1500)
        route.fulfill(response=answer)

    page.route(
        "**/api/v1/jobs", lambda r: slowly(r) if r.request.method == "POST" else r.continue_()
    )
    generate(page, "a fox in a hurry")
    page.wait_for_timeout(2500)
    assert page.locator(".queue-row.completed").count() == 1
    page.wait_for_selector(".stage video", timeout=WAIT)


def test_a_running_job_is_seen_to_move_and_can_be_cancelled(page: Any, served: Served) -> None:
    served.painter.step_seconds = 0.3
    page.fill("[data-field=steps] input", "99")
    generate(page, "a slow fox")
    page.wait_for_selector(".stage canvas", timeout=WAIT)
    until(page, "document.querySelector('.stage canvas').width === 64")
    until(page, "document.querySelector('.stage progress').value > 0.05")
    page.click(".stage-foot button:has-text('Cancel')")
    page.wait_for_selector(".queue-row.cancelled", timeout=WAIT)
    assert newest(page)["state"] == "cancelled"
    served.painter.step_seconds = 0.01
    page.click(".queue-row.cancelled [aria-label=Retry]")
    finished(page)


def test_a_reload_in_the_middle_finds_the_job_and_the_request(page: Any, served: Served) -> None:
    served.painter.step_seconds = 0.4
    page.fill("[data-field=steps] input", "40")
    generate(page, "a patient fox", seed=3)
    page.wait_for_selector(".queue-row.running", timeout=WAIT)
    page.reload()
    page.wait_for_selector(".queue-row.running", timeout=WAIT)
    assert page.input_value("#prompt") == "a patient fox"
    assert page.input_value("[data-field=seed] input") == "3"
    page.wait_for_selector(".stage canvas", timeout=WAIT)
    served.painter.step_seconds = 0.01
    page.wait_for_selector(".stage video", timeout=WAIT)
    assert newest(page)["attempts"] == 1


def test_the_queue_is_paused_reordered_held_and_resumed(page: Any) -> None:
    page.click(".queue .panel-head button:has-text('Pause')")
    page.wait_for_selector(".queue .panel-head button:has-text('Resume')")
    for number, prompt in enumerate(("one", "two", "three"), start=1):
        generate(page, prompt)
        until(page, "n => document.querySelectorAll('.queue-row.queued').length === n", number)
    order = "rows => rows.map((row) => row.querySelector('.prompt').textContent)"
    assert page.eval_on_selector_all(".queue-row.queued", order) == ["one", "two", "three"]
    page.click(".queue-row:has-text('three') [aria-label='Move up']")
    until(page, "document.querySelectorAll('.queue-row .prompt')[1].textContent === 'three'")
    page.click(".queue-row:has-text('one') [aria-label='Move down']")
    until(page, "document.querySelectorAll('.queue-row .prompt')[0].textContent === 'three'")
    page.click(".queue-row:has-text('two') [aria-label=Hold]")
    page.wait_for_selector(".queue-row:has-text('two') .state:has-text('on hold')")
    page.click(".queue .panel-head button:has-text('Resume')")
    finished(page, 2)
    assert page.inner_text(".queue-row.queued .prompt") == "two"


def test_a_dropped_animation_of_ours_gives_back_its_settings(page: Any, served: Served) -> None:
    page.fill("[data-field=steps] input", "5")
    generate(page, "a fox to remember", seed=2**64 - 1)
    finished(page)
    url = newest(page)["results"][0]["url"]
    data = bytes(
        page.evaluate(
            "u => fetch(u).then((a) => a.arrayBuffer()).then((b) => [...new Uint8Array(b)])", url
        )
    )
    page.click("[aria-label='Reset all settings']")
    assert page.input_value("#prompt") == ""
    drop(page, "old.mp4", "video/mp4", data)
    until(page, "document.getElementById('prompt').value === 'a fox to remember'")
    assert page.input_value("[data-field=steps] input") == "5"
    assert page.input_value("[data-field=seed] input") == str(2**64 - 1), (
        "no digit of a seed is lost"
    )


def test_a_dropped_picture_of_a1111_gives_back_its_settings(page: Any, tmp_path: Path) -> None:
    text = (
        "a castle\nNegative prompt: blurry\n"
        "Steps: 21, Sampler: Euler a, CFG scale: 6.5, Seed: 42, Size: 64x64"
    )
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a1111.png", pnginfo=info)
    drop(page, "a1111.png", "image/png", (tmp_path / "a1111.png").read_bytes())
    until(page, "document.getElementById('prompt').value === 'a castle'")
    assert page.input_value("#negative_prompt") == "blurry"
    assert page.input_value("[data-field=steps] input") == "21"
    assert page.input_value("[data-field=seed] input") == "42"
    assert page.input_value("[data-field=scheduler] select") == "euler-a"


def test_text_of_strangers_stays_text(page: Any) -> None:
    hostile = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>"
    generate(page, hostile)
    finished(page)
    assert page.inner_text(".stage-title") == hostile
    page.goto(page.url.split("#")[0] + "#/gallery")
    page.wait_for_selector(".card")
    assert page.title() == "Gallery · animatediff"


def test_prompts_are_placed_on_the_timeline_by_keyboard_alone(page: Any) -> None:
    page.fill("#prompt", "flat style")
    page.focus("[aria-label='Add to Prompts at the playhead']")
    page.keyboard.press("Enter")
    page.keyboard.type("a fox")
    page.focus(".playhead")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.focus("[aria-label='Add to Prompts at the playhead']")
    page.keyboard.press("Enter")
    page.keyboard.type("a hare")
    items = page.locator(".track[data-track=prompts] .item")
    assert items.count() == 2
    items.nth(1).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert items.nth(1).get_attribute("aria-label") == "Prompts: a hare at frame 13"
    page.press("#prompt", "Control+Enter")
    finished(page)
    assert newest(page)["request"]["prompts"] == {"0": "a fox", "13": "a hare"}
    items.nth(1).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Delete")
    assert items.count() == 1


def test_negative_prompts_have_a_track_of_their_own(page: Any) -> None:
    page.fill("#prompt", "a fox")
    page.fill(".playhead", "4")
    page.click("[aria-label='Add to Negative prompts at the playhead']")
    page.keyboard.type("a tree")
    page.fill(".playhead", "9")
    page.click("[aria-label='Add to Negative prompts at the playhead']")  # left empty
    item = page.locator(".track[data-track=negative_prompts] .item").first
    assert item.get_attribute("aria-label") == "Negative prompts: a tree at frame 4"
    assert page.locator(".track[data-track=prompts] .item").count() == 0
    page.press("#prompt", "Control+Enter")
    finished(page)
    assert newest(page)["request"]["negative_prompts"] == {"4": "a tree"}


def test_prompts_are_dragged_along_the_timeline(page: Any) -> None:
    page.dblclick(".track[data-track=prompts] .lane", position={"x": 3, "y": 20})
    page.keyboard.type("a fox")
    item = page.locator(".track[data-track=prompts] .item")
    box, lane = item.bounding_box(), page.locator(".track[data-track=prompts] .lane").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(lane["x"] + lane["width"] * 10.5 / 16, box["y"] + 5, steps=6)
    page.mouse.up()
    assert item.get_attribute("aria-label") == "Prompts: a fox at frame 10"


def test_pictures_are_placed_on_frames(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "first.png")
    with page.expect_file_chooser() as chooser:
        page.click("[aria-label='Add to Control frames at the playhead']")
    chooser.value.set_files(tmp_path / "first.png")
    page.wait_for_selector(".track[data-track=sparse] .item img", timeout=WAIT)
    until(page, "document.querySelector('.track[data-track=sparse] img').naturalWidth === 32")
    draft = json.loads(page.evaluate("localStorage.getItem('animatediff.draft')"))
    assert re.fullmatch(r"[0-9a-f]{64}@0", draft["sparse"][0])


def test_one_strength_for_all_control_networks_is_on_every_track(page: Any) -> None:
    draft = {"controls": ["edges", "shape"], "control_strengths": ["0:4=0.5"]}
    page.evaluate("text => localStorage.setItem('animatediff.draft', text)", json.dumps(draft))
    page.reload()
    for index in (0, 1):
        page.wait_for_selector(f".track[data-track=control_strengths-{index}] .item", timeout=WAIT)
    items = page.locator(".track[data-track=control_strengths-0] .item")
    items.nth(0).focus()
    page.keyboard.press("Delete")
    until(
        page,
        "JSON.parse(localStorage.getItem('animatediff.draft')).control_strengths.length === 2",
    )
    stored = json.loads(page.evaluate("localStorage.getItem('animatediff.draft')"))
    assert stored["control_strengths"][1] == "0:4=0.5"


def test_scales_change_over_the_frames(page: Any) -> None:
    page.evaluate(
        "localStorage.setItem('animatediff.draft', JSON.stringify({ motion_loras: ['zoom:0.5'] }))"
    )
    page.reload()
    page.click("[aria-label='Add to Scale of zoom at the playhead']")
    page.keyboard.press("Control+A")
    page.keyboard.type("0.2")
    page.fill(".playhead", "15")
    page.click("[aria-label='Add to Scale of zoom at the playhead']")
    page.keyboard.press("Control+A")
    page.keyboard.type("1")
    draft = json.loads(page.evaluate("localStorage.getItem('animatediff.draft')"))
    assert draft["motion_loras"] == ["zoom:frames(0=0.2, 15=1)"]
    assert page.locator(".curve .line").count() == 1


def test_a_grid_varies_two_settings(page: Any) -> None:
    page.fill("#prompt", "a fox")
    page.goto(page.url.split("#")[0] + "#/grid")
    page.locator(".axis select").nth(0).select_option("steps")
    page.locator(".axis input").nth(0).fill("3 | 4")
    page.locator(".axis select").nth(1).select_option("seed")
    page.locator(".axis input").nth(1).fill("1-3")
    assert "2 × 3 = 6" in page.inner_text(".axes")
    page.click("text=Generate grid")
    until(page, "document.querySelectorAll('button.cell').length === 6", animations=6)
    assert page.locator(".grid-table tbody th").all_inner_texts() == ["Seed 1", "Seed 2", "Seed 3"]
    page.reload()
    until(page, "document.querySelectorAll('button.cell').length === 6")
    page.locator("button.cell").nth(5).click()
    page.wait_for_selector("dialog .settings")
    assert re.search(r"Steps\n4\n.*Seed\n3", page.inner_text("dialog"), re.DOTALL)


def test_two_animations_are_compared_in_step(page: Any) -> None:
    generate(page, "one", seed=1)
    generate(page, "two", seed=2)
    finished(page, 2)
    page.goto(page.url.split("#")[0] + "#/compare")
    until(
        page,
        "[...document.querySelectorAll('.pair video')].filter((v) => v.readyState >= 2).length === 2",
    )
    for _ in range(3):
        page.click(".compare [aria-label='Next frame']")
    times = "[...document.querySelectorAll('.pair video')].map((v) => v.currentTime)"
    assert page.evaluate(times) == pytest.approx([3.5 / 8] * 2)
    assert "Seed" in page.inner_text(".differences")
    page.click(".compare button:has-text('Play')")
    page.wait_for_timeout(600)
    left, right = page.evaluate(times)
    assert left == right
    assert left != pytest.approx(3.5 / 8)


def test_the_gallery_gives_back_every_setting(page: Any) -> None:
    page.fill("[data-field=guidance] input", "4.5")
    generate(page, "a fox worth keeping", seed=11)
    finished(page)
    page.click("[aria-label='Reset all settings']")
    page.goto(page.url.split("#")[0] + "#/gallery")
    page.click(".card")
    page.click("dialog button:has-text('Use settings')")
    until(page, "document.getElementById('prompt')?.value === 'a fox worth keeping'")
    assert page.input_value("[data-field=guidance] input") == "4.5"
    assert page.input_value("[data-field=seed] input") == "11"


def test_names_are_completed_while_a_prompt_is_typed(page: Any) -> None:
    models = [
        {"role": "lora", "field": "loras", "name": name, "about": ""} for name in ("noto", "neon")
    ]
    page.route("**/api/v1/models", lambda route: route.fulfill(json=models))
    page.reload()
    page.wait_for_selector("#prompt")
    page.focus("#prompt")
    page.keyboard.type("a fox <lora:n")
    assert page.locator(".prose.prompt [role=option]").all_inner_texts() == [
        "noto\nLoRA",
        "neon\nLoRA",
    ]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.input_value("#prompt") == "a fox <lora:neon:1>"


def test_a_value_out_of_range_is_named_before_anything_is_sent(page: Any) -> None:
    page.fill("#prompt", "a fox")
    page.fill("[data-field=steps] input", "0")
    assert page.inner_text("[data-field=steps] .problem") == "Steps must be 1 or more."
    page.press("#prompt", "Control+Enter")
    page.wait_for_selector(".toast.wrong")
    assert page.locator(".queue-row").count() == 0


def test_every_option_of_a_request_has_a_control(page: Any) -> None:
    unfold(page)
    shown = set(
        page.eval_on_selector_all("[data-field]", "all => all.map((one) => one.dataset.field)")
    )
    groups = page.evaluate("fetch('/api/v1/options').then((a) => a.json())")["groups"]
    options = [option for group in groups for option in group["options"]]
    wanted = {option["field"] for option in options if option["takes"] != "refused"}
    assert wanted - shown == {"prompts", "negative_prompts"}, "prompts are on the timeline"


def test_every_control_is_reached_by_keyboard(page: Any) -> None:
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        place = page.evaluate(
            "(document.activeElement.closest('[data-field]')?.dataset.field)"
            " ?? document.activeElement.getAttribute('aria-label')"
            " ?? document.activeElement.textContent.trim().slice(0, 20)"
        )
        reached.add(place)
    wanted = {
        "prompt",
        "negative_prompt",
        "model",
        "motion",
        "num_frames",
        "fps",
        "width",
        "height",
    }
    wanted |= {"steps", "guidance", "scheduler", "seed", "Add to Prompts at the playhead", "Pause"}
    assert wanted <= reached
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    for keys, name in (("gl", "Gallery"), ("gx", "Grid"), ("gi", "Inspect"), ("gc", "Create")):
        for key in keys:
            page.keyboard.press(key)
        until(page, "name => document.title.startsWith(name)", name)


def test_a_weight_file_is_inspected_by_its_header_alone(page: Any, tmp_path: Path) -> None:
    header = json.dumps(
        {
            f"down_blocks.{block}.motion_modules.0.temporal_transformer.norm.weight": {
                "dtype": "F16",
                "shape": [320],
                "data_offsets": [block * 640, block * 640 + 640],
            }
            for block in range(4)
        }
    ).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(4 * 640)
    page.evaluate(
        "() => { const real = fetch; globalThis.fetch = (url, how) => {"
        " if (url.includes('inspect')) globalThis.sent = how.body.size; return real(url, how); } }"
    )
    drop(page, "what.safetensors", "application/octet-stream", data)
    page.wait_for_selector(".inspect-card .verdict", timeout=60_000)
    assert page.evaluate("sent") == 8 + len(header)
    assert "motion" in page.inner_text(".inspect-card .verdict").lower()


def test_training_runs_are_followed_live(page: Any, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "motion"
    (run / "clips").mkdir(parents=True)
    Image.new("RGB", (16, 16), "teal").save(run / "clips" / "step-00000040-0.webp")
    lines = [json.dumps({"step": step, "loss": 1 / step, "rate": 1e-4}) for step in (20, 40)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 6')
    page.goto(page.url.split("#")[0] + "#/training")
    page.wait_for_selector(".chart .smooth", state="attached", timeout=WAIT)
    assert "0.02500" in page.inner_text(".run .numbers")
    assert page.locator(".clips img").count() == 1
    with (run / "metrics.jsonl").open("w") as file:
        file.write("\n".join([*lines, json.dumps({"step": 60, "loss": 0.01, "rate": 1e-4})]) + "\n")
    until(page, "document.querySelector('.run .numbers').textContent.includes('0.01000')")


def test_a_dataset_is_checked(page: Any, tmp_path: Path) -> None:
    clips = tmp_path / "datasets" / "mine"
    clips.mkdir()
    frames = [Image.new("RGB", (32, 32), (9 * n, 60, 120)) for n in range(20)]
    frames[0].save(clips / "a.gif", save_all=True, append_images=frames[1:], duration=125)
    (clips / "a.txt").write_text("a colour that changes")
    (clips / "b.mp4").write_bytes(b"not a video")
    (clips / "b.txt").write_text("nothing")
    page.goto(page.url.split("#")[0] + "#/datasets")
    page.click("[aria-label='Check mine']")
    page.wait_for_selector(".report .numbers", timeout=60_000)
    text = page.inner_text(".report")
    assert "Clips\n2" in text
    assert "Good\n1" in text
    assert "b" in page.inner_text(".report details")


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    generate(page, "a fox on a phone")
    finished(page)
    page.set_viewport_size({"width": 360, "height": 740})
    for name in ("create", "gallery", "compare", "grid", "inspect", "datasets", "training"):
        page.goto(page.url.split("#")[0] + f"#/{name}")
        page.wait_for_timeout(150)
        wide = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert wide <= 0, name


def test_axe_finds_nothing_in_light_and_dark(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    generate(page, "a fox for everybody")
    finished(page)
    page.click("[aria-label='Add to Prompts at the playhead']")
    page.keyboard.type("a hare")
    found: dict[str, list[str]] = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for name in ("create", "gallery", "compare", "grid", "inspect", "datasets", "training"):
            page.goto(page.url.split("#")[0] + f"#/{name}")
            page.wait_for_timeout(150)
            if name == "create":
                unfold(page)
            found |= violations(axe, page, f"{name} {scheme}")
        page.goto(page.url.split("#")[0] + "#/gallery")
        page.click(".card")
        found |= violations(axe, page, f"dialog {scheme}")
        page.keyboard.press("Escape")
    assert found == {}


def violations(axe: Any, page: Any, where: str) -> dict[str, list[str]]:
    result = axe.run(page).response["violations"]
    rows = [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node.get('failureSummary', '')[:200]}"
        for rule in result
        for node in rule["nodes"][:3]
    ]
    return {where: rows} if rows else {}


def test_a_token_is_asked_for_once(browser: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.apps.page.service import serving, settings_in

    with serving(replace(settings_in(tmp_path), token="open sesame")) as served:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.url)
        page.fill("#token", "wrong")
        page.press("#token", "Enter")
        page.wait_for_selector(".problem:has-text('not the token')")
        page.fill("#token", "open sesame")
        page.press("#token", "Enter")
        page.wait_for_selector("#prompt", timeout=WAIT)
        generate(page, "a fox behind a door")
        page.wait_for_selector(".stage video", timeout=WAIT)
        page.reload()
        page.wait_for_selector("#prompt", timeout=WAIT)
        context.close()


def test_a_page_begins_at_its_top_and_its_link_is_in_sight(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 500})
    page.evaluate("scrollTo(0, document.scrollingElement.scrollHeight)")
    page.evaluate("location.hash = '#/training'")
    until(page, "document.title.startsWith('Training')")
    assert page.evaluate("scrollY") == 0
    inside = """() => {
      const link = document.querySelector('nav [aria-current]').getBoundingClientRect();
      const nav = document.querySelector('nav').getBoundingClientRect();
      return link.left >= nav.left && link.right <= nav.right + 1;
    }"""
    assert page.evaluate(inside)


def test_uploads_are_shown_and_masks_are_areas_or_files(page: Any, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), "teal").save(tmp_path / "start.png")
    unfold(page)
    for title, shown in (("Image", True), ("Motion scale mask", True), ("Region", False)):
        with page.expect_file_chooser() as chooser:
            page.click(f"[aria-label='Upload for {title}']")
        chooser.value.set_files(tmp_path / "start.png")
        if shown:
            field = {"Image": "image"}.get(title, "motion_scale_mask")
            until(
                page,
                "f => document.querySelector(`[data-field=${f}] .thumb img`)?.naturalWidth === 32",
                field,
            )
    until(page, "document.querySelector('[data-field=regions] textarea').value.includes('@')")
    assert re.fullmatch(
        r"a prompt @[0-9a-f]{64}", page.input_value("[data-field=regions] textarea")
    )
    page.fill("[data-field=motion_scale_mask] input[type=text]", "left")
    assert page.locator("[data-field=motion_scale_mask] .thumb").is_hidden()
