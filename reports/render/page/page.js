"use strict";
(() => {
  const $ = (s) => document.querySelector(s);
  const leaks = [...document.querySelectorAll("details.leak")];
  const chips = [...document.querySelectorAll(".chip[data-status]")];
  const cells = [...document.querySelectorAll(".cell")];
  const tools = $(".tools");
  const q = $("#q"), count = $("#count"), runChip = $("#run-filter");
  const texts = leaks.map((d) => d.dataset.q);
  const runs = leaks.map((d) => new Set(d.dataset.runs.split(" ")));
  let run = "";
  document.documentElement.classList.add("on");

  // apply shows the leaks that match the words, the statuses and the run.
  function apply() {
    const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const off = new Set(chips.filter((c) => c.ariaPressed !== "true").map((c) => c.dataset.status));
    let shown = 0;
    leaks.forEach((d, i) => {
      const fits = !off.has(d.dataset.status) && (!run || runs[i].has(run)) && words.every((w) => texts[i].includes(w));
      if (d.hidden === fits) d.hidden = !fits;
      if (fits) shown++;
    });
    count.textContent = shown === leaks.length ? `${shown} shown` : `${shown} of ${leaks.length} shown`;
    $("#none").hidden = shown > 0;
    cells.forEach((c) => c.toggleAttribute("aria-current", c.dataset.run === run));
    runChip.hidden = !run;
  }
  const fails = (e) => "fails" in e.dataset;
  function press(chip, on) { chip.ariaPressed = String(on); }
  function all() {
    q.value = ""; run = "";
    chips.forEach((c) => press(c, true));
    apply();
  }
  // go follows a cell without leaks to where its run says why.
  function go(n) {
    const id = "#run-" + n;
    if (location.hash !== id) location.hash = id; else open();
    document.querySelector(id + " summary").focus({ preventScroll: true });
  }
  // pick shows the leaks of one run, or of all again.
  function pick(n) {
    run = run === n ? "" : n;
    const title = document.querySelector(`#run-${CSS.escape(n)} .title`);
    runChip.textContent = "run: " + (title ? title.textContent : n) + " ✕";
    const detail = document.getElementById("run-" + n);
    if (run && detail) detail.open = true;
    apply();
    if (run) $("#leaks").scrollIntoView();
  }
  // open unfolds what a link points to, and shows it where a filter hid it.
  function open() {
    const id = decodeURIComponent(location.hash.slice(1));
    const target = id && document.getElementById(id);
    if (!target) return;
    const d = target.closest("details");
    if (d) { if (d.hidden) all(); d.open = true; }
    target.scrollIntoView();
  }
  // step moves the focus to the next leak that shows, or the one before.
  function step(by) {
    const shown = leaks.filter((d) => !d.hidden);
    const at = shown.findIndex((d) => d.contains(document.activeElement));
    const next = shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : at + by];
    if (next) { next.querySelector("summary").focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  if (q) {
    let waiting = 0;
    q.addEventListener("input", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(apply); });
    chips.forEach((c) => c.addEventListener("click", () => { press(c, c.ariaPressed !== "true"); apply(); }));
    runChip.addEventListener("click", () => { run = ""; apply(); });
    cells.forEach((c) => c.addEventListener("click", (e) => { e.preventDefault(); (c.classList.contains("leaks") ? pick : go)(c.dataset.run); }));
    for (const a of document.querySelectorAll("[data-find]"))
      a.addEventListener("click", (e) => { e.preventDefault(); q.value = a.dataset.find; apply(); $("#leaks").scrollIntoView(); });
    if (chips.some(fails)) chips.forEach((c) => press(c, fails(c))); // at first, what made the verdict
    apply();
  }
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || !q) return;
    if (e.key === "Escape") { all(); q.blur(); return; }
    if (/^(INPUT|TEXTAREA)$/.test(e.target.tagName)) {
      if (e.key === "Enter") { e.preventDefault(); q.blur(); step(1); }
      return;
    }
    const act = { "/": () => q.focus(), j: () => step(1), k: () => step(-1) }[e.key];
    if (act) { e.preventDefault(); act(); }
  });
  // What is scrolled to must not lie behind the toolbar, however many rows it has.
  function clear() {
    const over = tools && getComputedStyle(tools).position === "sticky" ? tools.offsetHeight : 0;
    document.documentElement.style.scrollPaddingTop = over + 8 + "px";
  }
  addEventListener("resize", clear);
  clear();
  addEventListener("hashchange", open);
  open();

  // A copy button where there is something to paste.
  document.addEventListener("toggle", (e) => {
    if (!e.target.open || !navigator.clipboard) return;
    for (const pre of e.target.querySelectorAll(".copy")) {
      if (pre.querySelector("button")) continue;
      const text = pre.textContent, b = document.createElement("button");
      b.type = "button"; b.textContent = "copy";
      b.addEventListener("click", () => navigator.clipboard.writeText(text).then(() => { b.textContent = "copied"; }, () => { b.textContent = "select it"; }));
      pre.append(b);
    }
  }, true);

  // On paper there is no unfolding: the leaks that fail are printed open.
  const unfolded = [];
  addEventListener("beforeprint", () => {
    const more = leaks.filter((d) => fails(d) && !d.hidden && !d.open).slice(0, 200);
    more.forEach((d) => { d.open = true; });
    unfolded.push(...more);
  });
  addEventListener("afterprint", () => unfolded.splice(0).forEach((d) => { d.open = false; }));
})();
