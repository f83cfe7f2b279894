"use strict";
// Randomness from a text: the same participant always sees the same order.
function randomFrom(text) {
  let state = 2166136261;
  for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 16777619) >>> 0;
  return function () {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
function shuffled(list, random) {
  const copy = list.slice();
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}
// Pages of a participant: items in random order, videos in random order, the check in the middle.
function pagesFor(study, participant) {
  const random = randomFrom(study.study + "/" + participant);
  const pages = shuffled(study.items, random).map((item) => ({
    item: item.name, prompt: item.prompt, references: item.references, isCheck: false,
    shown: shuffled(Object.keys(item.videos), random), videos: item.videos,
  }));
  const source = study.items.find((item) => item.name === study.check);
  const place = Math.ceil(pages.length / 2);
  pages.splice(place, 0, {
    item: "check", prompt: study.checkText, references: null, isCheck: true,
    shown: shuffled(Object.keys(source.videos), random), videos: source.videos,
  });
  return pages;
}
function isPermutation(ranks, count) {
  const sorted = ranks.slice().sort((a, b) => a - b);
  return sorted.length === count && sorted.every((rank, index) => rank === index + 1);
}
if (typeof module !== "undefined") module.exports = { pagesFor, isPermutation, shuffled, randomFrom };

function start(study) {
  const box = document.getElementById("study");
  const memory = "animatediff-study-" + study.study;
  let state = null;
  try { state = JSON.parse(localStorage.getItem(memory)); } catch (error) { state = null; }
  if (!state || !state.participant) {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    const name = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
    state = { participant: name, started: new Date().toISOString(), answers: [] };
  }
  const pages = pagesFor(study, state.participant);
  function keep() {
    try { localStorage.setItem(memory, JSON.stringify(state)); } catch (error) { /* not kept */ }
  }
  function element(tag, text, parent, attributes) {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    parent.appendChild(made);
    return made;
  }
  function show() {
    box.textContent = "";
    const number = state.answers.length;
    if (number >= pages.length) return finish();
    const page = pages[number];
    element("p", "Page " + (number + 1) + " of " + pages.length, box);
    element("p", page.prompt, box, { class: "prompt" });
    if (page.references) {
      element("p", "Reference pictures:", box);
      element("img", "", box, { src: study.files[page.references], alt: "reference pictures" });
    }
    const videos = element("div", "", box, { class: "videos" });
    page.shown.forEach((video, place) => {
      const figure = element("figure", "", videos);
      element("img", "", figure, { src: study.files[page.videos[video]], alt: "video " + (place + 1) });
      element("figcaption", "Video " + (place + 1), figure);
    });
    const chosen = {};
    for (const aspect of study.aspects) {
      const group = element("fieldset", "", box);
      element("legend", study.questions[aspect] + " (1 is best)", group);
      chosen[aspect] = page.shown.map((video, place) => {
        const label = element("label", "Video " + (place + 1) + " ", group);
        const select = element("select", "", label, { "aria-label": aspect + " video " + (place + 1) });
        element("option", "-", select, { value: "0" });
        page.shown.forEach((_, rank) => element("option", String(rank + 1), select, { value: rank + 1 }));
        select.addEventListener("change", check);
        return select;
      });
    }
    const note = element("p", "Give each rank once in every question.", box);
    const next = element("button", number + 1 < pages.length ? "Next" : "Finish", box);
    next.disabled = true;
    function ranks(aspect) { return chosen[aspect].map((select) => Number(select.value)); }
    function check() {
      next.disabled = !study.aspects.every((a) => isPermutation(ranks(a), page.shown.length));
      note.hidden = !next.disabled;
    }
    next.addEventListener("click", () => {
      const answer = { item: page.item, shown: page.shown, ranks: {} };
      for (const aspect of study.aspects) answer.ranks[aspect] = ranks(aspect);
      state.answers.push(answer);
      keep();
      show();
      window.scrollTo(0, 0);
    });
  }
  function finish() {
    state.finished = state.finished || new Date().toISOString();
    keep();
    const text = JSON.stringify({ study: study.study, ...state });
    element("p", "Thank you.", box);
    const status = element("p", "", box);
    function offer(reason) {
      status.textContent = reason + " Save your answers and send the file to whoever invited you.";
      element("a", "Save answers", box, {
        href: "data:application/json," + encodeURIComponent(text),
        download: "answers-" + state.participant + ".json",
      });
    }
    if (!location.protocol.startsWith("http")) return offer("This page was opened from a file.");
    fetch("answers", { method: "POST", headers: { "content-type": "application/json" }, body: text })
      .then((reply) => { if (!reply.ok) throw new Error(); status.textContent = "Your answers were received."; })
      .catch(() => offer("Your answers could not be sent."));
  }
  show();
}
if (typeof document !== "undefined") {
  start(JSON.parse(document.getElementById("data").textContent));
}
