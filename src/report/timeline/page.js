"use strict";
(() => {
const root = document.documentElement;
addEventListener("error", event => { root.dataset.error = event.message; });
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const wall = Math.max(data.wall, 1);
const chart = $("chart"), tip = $("tip");

// Figures, as the tables have them.
function time(us) {
  if (us < 9950) return (us / 1e3).toFixed(us < 995 ? 2 : 1) + " ms";
  if (us < 999500) return Math.round(us / 1e3) + " ms";
  if (us < 59995000) return (us / 1e6).toFixed(us < 9995000 ? 2 : 1) + " s";
  const s = Math.round(us / 1e6), two = n => String(n).padStart(2, "0");
  return s < 3600 ? Math.floor(s / 60) + "m" + two(s % 60) + "s" : Math.floor(s / 3600) + "h" + two(Math.floor(s / 60) % 60) + "m";
}
function size(bytes) {
  let unit = 0;
  while (bytes >= 999.5 && unit < 5) { bytes /= 1000; unit++; }
  return (unit ? bytes.toFixed(bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0) : Math.round(bytes)) + " " + ["B", "kB", "MB", "GB", "TB", "PB"][unit];
}
const moment = us => us === 0 ? "0" : us < 999500 ? time(us) : us < 59995000 ? (us / 1e6).toFixed(3) + " s" : time(us) + " (" + (us / 1e6).toFixed(1) + " s)";
const part = us => { const p = us / wall * 100; return (p && p < 0.05 ? "< 0.1" : p && p < 0.95 ? p.toFixed(1) : Math.round(p)) + " %"; };

function element(parent, tag, name, text) {
  const made = parent.appendChild(document.createElement(tag));
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}
function place(box, from, to) {
  box.style.left = from / wall * 100 + "%";
  box.style.width = (to - from) / wall * 100 + "%";
}

// What is said of a bar: on hover, on focus, and to a screen reader.
const said = new Map();
function describe(box, lines) {
  said.set(box, lines.filter(Boolean));
  return said.get(box).join(", ");
}
const head = row => row.step ? row.step + " " + row.text : row.text;
const between = (a, b) => time(b - a) + ", from " + moment(a) + " to " + moment(b);
function onPath(list) {
  const sum = list.reduce((all, item) => all + item.b - item.a, 0);
  return list.length ? "critical path: " + time(sum) + ", " + part(sum) + " of the build" : "";
}

// Bars of the same row that overlap are put below each other.
function pack(list) {
  const ends = [];
  for (const item of list) {
    let at = ends.findIndex(end => end <= item.a);
    if (at < 0) at = ends.length;
    ends[at] = item.b;
    item.at = at % 6;
  }
  return Math.min(ends.length, 6);
}

function bar(track, name, lines, a, b) {
  const box = element(track, "div", "b " + name);
  place(box, a, b);
  box.tabIndex = -1;
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", describe(box, lines));
  return box;
}
// One outline for what follows upon each other.
function outline(track, path, top, height) {
  let to = -1, mark, from;
  for (const item of path) {
    if (item.a !== to) { mark = element(track, "div", "crit"); from = item.a; }
    place(mark, from, to = item.b);
    mark.style.top = top - 1.5 + "px";
    mark.style.height = height + 3 + "px";
  }
}

// The bars of some rows of a lane, on one line.
function draw(track, lane, rows) {
  const moves = [];
  for (const row of rows) {
    const path = data.path.filter(item => item.row === row);
    for (const span of row.spans) {
      const mine = path.filter(item => item.t === undefined && item.k === span.k && item.a < span.b && item.b > span.a);
      const lines = [head(row), span.k + (span.w ? ": waits for " + span.w : "") + (row.end !== "done" ? ", " + row.end : ""),
        between(span.a, span.b), onPath(mine)];
      const last = span === row.spans.at(-1);
      const name = (row.end === "cached" ? " iscached" : "") + (last && row.end === "failed" ? " isfailed" : "");
      bar(track, "main " + span.k + name, lines, span.a, span.b).dataset.step = row.id;
    }
    outline(track, path.filter(item => item.t === undefined), 4, 12);
    row.moves.forEach((move, t) => moves.push({...move, row, path: path.filter(item => item.t === t)}));
  }
  moves.sort((x, y) => x.a - y.a);
  const alone = rows.every(row => !row.spans.length);
  const tracks = pack(moves), thick = alone && tracks < 2;
  for (const move of moves) {
    const us = move.b - move.a, bytes = move.done;
    const moved = move.total && bytes < move.total ? size(bytes) + " of " + size(move.total) : bytes || !move.total ? size(bytes) : size(move.total);
    const lines = [move.k + " " + move.name, bytes || move.total ? moved + (bytes && us >= 1000 ? ", " + size(bytes / us * 1e6) + "/s" : "") : "",
      between(move.a, move.b), move.again ? "began again " + (move.again > 1 ? move.again + " times" : "once") : "",
      move.open ? "not finished" : "", move.row.spans.length ? "of " + head(move.row) : "", onPath(move.path)];
    const box = bar(track, (thick ? "main " : "strip ") + move.k, lines, move.a, move.b);
    const top = thick ? 4 : (alone ? 3 : 18) + move.at * 6;
    box.style.top = top + "px";
    outline(track, move.path, top, thick ? 12 : 5);
  }
  track.parentNode.style.height = (thick ? 20 : (alone ? 4 : 20) + tracks * 6) + "px";
}

const inner = element(chart, "div", "inner");
const axis = element(inner, "div", "axis");
element(axis, "div", "label");
const ruler = element(axis, "div", "track");
const grid = element(inner, "div", "grid");

for (const item of data.path) {
  item.lane = data.lanes[item.l];
  item.row = item.lane && item.lane.rows[item.r];
}
const rows = data.lanes.reduce((all, lane) => all + lane.rows.length + 1, 0);
for (const lane of data.lanes) {
  lane.path = data.path.filter(item => item.lane === lane).reduce((all, item) => all + item.b - item.a, 0);
}
// Many rows hide what matters: only the lane that the build waited for most stays open.
const most = data.lanes.reduce((best, lane) => !best || lane.path > best.path ? lane : best, null);
for (const lane of data.lanes) {
  lane.open = rows <= 34 || lane === most && lane.rows.length > 1 && lane.rows.length <= 80;
  lane.box = element(inner, "div");
  build(lane);
}

function build(lane) {
  const list = lane.rows, box = lane.box;
  box.replaceChildren();
  const title = element(box, "div", "row lane" + (lane.whole ? " whole" : ""));
  const label = element(title, "div", "label");
  const button = element(label, "button");
  button.type = "button";
  button.setAttribute("aria-expanded", lane.open);
  element(button, "span", "name", lane.whole ? "whole image" : lane.name);
  const a = Math.min(...list.map(row => row.a)), b = Math.max(...list.map(row => row.b));
  const steps = list.filter(row => row.spans.length).length, cached = list.filter(row => row.end === "cached").length;
  element(label, "span", "time", time(b - a));
  describe(label, [lane.whole ? "What no step wants or makes for itself" : "Stage " + lane.name,
    steps ? steps + (steps > 1 ? " steps" : " step") + (cached ? ", " + cached + " cached" : "") : list.length + " transfers", between(a, b),
    lane.path ? "critical path: " + time(lane.path) + ", " + part(lane.path) + " of the build" : ""]);
  button.onclick = () => { lane.open = !lane.open; build(lane); lane.box.querySelector("button").focus(); };
  const track = element(title, "div", "track");
  if (!lane.open) { draw(track, lane, list); return; }
  place(element(track, "div", "extent"), a, b);
  for (const row of list) {
    row.box = element(box, "div", "row " + row.end);
    const label = element(row.box, "div", "label");
    element(label, "span", "number", row.step);
    element(label, "span", "name" + (row.spans.length ? " code" : ""), row.text);
    element(label, "span", "time", row.end === "cached" ? "cached" : (row.end === "done" ? "" : row.end + " ") + time(row.b - row.a));
    const kinds = row.spans.length > 1 ? row.spans.map(span => span.k + " " + time(span.b - span.a)).join(" · ") : "";
    const mine = data.path.filter(item => item.row === row);
    describe(label, [row.text, row.id ? "step " + row.step + " of " + lane.name + ", #" + row.id + ", " + row.end : "", between(row.a, row.b), kinds,
      row.lines ? row.lines + (row.lines > 1 ? " lines" : " line") + " of output" : "", onPath(mine)]);
    draw(element(row.box, "div", "track"), lane, [row]);
  }
}

// Zoom: how wide the tracks are, as a multiple of what fits.
let zoom = 1;
const labelWidth = () => axis.firstChild.offsetWidth;
const room = () => Math.max(chart.clientWidth - labelWidth(), 50);
const limit = () => Math.max(1, Math.min(1e6 / room(), wall / 50));
function ticks() {
  const width = room() * zoom, shown = room();
  // The smallest round step that leaves room for its text.
  const least = wall / width * 84;
  let unit = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  unit = [1, 2, 5, 10].map(n => n * unit).find(n => n >= least);
  if (unit > 2e7) unit = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 86400].map(n => n * 1e6).find(n => n >= least) || unit;
  const from = Math.max(0, Math.floor((chart.scrollLeft - shown) / width * wall / unit)), to = (chart.scrollLeft + 2 * shown) / width * wall;
  ruler.replaceChildren();
  grid.replaceChildren();
  const digits = us => us < 1e6 ? +(us / 1e3).toFixed(3) + " ms" : us < 6e7 ? +(us / 1e6).toFixed(6) + " s" : +(us / 6e7).toFixed(3) === Math.round(us / 6e7) ? us / 6e7 + " min" : time(us);
  for (let n = from; n * unit <= Math.min(to, wall); n++) {
    const at = n * unit, left = at / wall * 100 + "%", end = (wall - at) / wall * width < 30;
    element(ruler, "span", "tick" + (n ? end ? " last" : "" : " first"), n ? digits(at) : "0").style.left = left;
    element(grid, "i").style.left = left;
  }
}
function zoomTo(factor, at, x) {
  zoom = Math.min(Math.max(factor, 1), limit());
  inner.style.setProperty("--track", zoom === 1 ? `calc(100% - ${labelWidth()}px)` : room() * zoom + "px");
  chart.scrollLeft = at * room() * zoom - x;
  ticks();
}
function zoomBy(factor, x = room() / 2) {
  zoomTo(zoom * factor, (chart.scrollLeft + x) / (room() * zoom), x);
}
$("in").onclick = () => zoomBy(2);
$("out").onclick = () => zoomBy(.5);
$("fit").onclick = () => zoomTo(1, 0, 0);
$("fold").onclick = () => {
  const open = !data.lanes.some(lane => lane.open);
  for (const lane of data.lanes) { lane.open = open; build(lane); }
  $("fold").textContent = open ? "fold all" : "unfold all";
};
addEventListener("resize", () => zoomTo(zoom, chart.scrollLeft / (room() * zoom), 0));
addEventListener("beforeprint", () => zoomTo(1, 0, 0));
chart.addEventListener("scroll", ticks, {passive: true});
const inTrack = event => event.clientX - chart.getBoundingClientRect().left - labelWidth();
chart.addEventListener("wheel", event => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY / 200), Math.max(inTrack(event), 0));
}, {passive: false});
chart.addEventListener("dblclick", event => { if (inTrack(event) > 0) zoomTo(1, 0, 0); });
let drag = null;
chart.addEventListener("pointerdown", event => {
  if (event.button || event.pointerType === "touch" || inTrack(event) < 0 || !event.target.closest(".inner")) return;
  drag = {x: inTrack(event), box: null};
});
addEventListener("pointermove", event => {
  if (!drag) return;
  const x = Math.min(Math.max(inTrack(event), 0), room());
  if (!drag.box && Math.abs(x - drag.x) < 5) return;
  if (!drag.box) { drag.box = element(grid, "div"); drag.box.id = "choice"; getSelection().removeAllRanges(); }
  drag.a = Math.min(x, drag.x); drag.b = Math.max(x, drag.x);
  drag.box.style.left = drag.a + chart.scrollLeft + "px";
  drag.box.style.width = drag.b - drag.a + "px";
  event.preventDefault();
});
addEventListener("pointerup", () => {
  const done = drag;
  drag = null;
  if (!done || !done.box) return;
  done.box.remove();
  const whole = room() * zoom, from = (chart.scrollLeft + done.a) / whole;
  zoomTo(zoom * room() / (done.b - done.a), from, 0);
});

// The text beside what is pointed at, or has the focus.
function show(box, x, y) {
  const lines = said.get(box);
  if (!lines) { tip.hidden = true; return; }
  tip.replaceChildren();
  for (const line of lines) element(tip, "p", line.startsWith("critical") ? "strong" : "", line);
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - width - 8)) + "px";
  tip.style.top = (y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18) + "px";
}
const hovered = event => event.target.closest && event.target.closest(".b, .label");
chart.addEventListener("pointermove", event => drag && drag.box ? tip.hidden = true : show(hovered(event), event.clientX, event.clientY));
chart.addEventListener("pointerleave", () => { tip.hidden = true; });
chart.addEventListener("focusin", event => {
  const box = hovered(event), at = box && box.getBoundingClientRect();
  if (at && event.target.matches(":focus-visible")) show(box, Math.max(at.left, 0), at.top);
});
chart.addEventListener("focusout", () => { tip.hidden = true; });

// One bar is reached by the tabulator key, the others from there by arrows.
const bars = () => [...chart.querySelectorAll(".b")];
function reach(box) {
  for (const other of chart.querySelectorAll(".b[tabindex='0']")) other.tabIndex = -1;
  box.tabIndex = 0;
  box.scrollIntoView({block: "nearest", inline: "nearest"});
  const hidden = inTrack({clientX: box.getBoundingClientRect().left});
  if (hidden < 0) chart.scrollLeft += hidden - 20;
  box.focus({preventScroll: true, focusVisible: true});
}
chart.addEventListener("keydown", event => {
  if (event.key === "Escape") tip.hidden = true;
  if (event.key === "+" || event.key === "=") zoomBy(2);
  if (event.key === "-") zoomBy(.5);
  if (event.key === "0") zoomTo(1, 0, 0);
  if (!event.target.matches(".b") || !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const all = bars(), at = all.indexOf(event.target), track = event.target.parentNode;
  const by = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1;
  let to = at + by;
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    while (all[to] && all[to].parentNode === track) to += by;
    // The first of its row, from below too.
    while (by < 0 && all[to - 1] && all[to - 1].parentNode === all[to].parentNode) to--;
  }
  if (all[to]) reach(all[to]);
});

// A line of the table leads to its bar.
for (const line of document.querySelectorAll("#longest tr[data-at]")) {
  const item = data.path[line.dataset.at];
  if (!item.row) continue;
  line.tabIndex = 0;
  const go = () => {
    if (!item.lane.open) { item.lane.open = true; build(item.lane); }
    const name = item.t === undefined ? ".main." : ".b.";
    const found = [...item.row.box.querySelectorAll(name + item.k)];
    const middle = (item.a + item.b) / 2 / wall * 100;
    const covers = box => parseFloat(box.style.left) <= middle && middle <= parseFloat(box.style.left) + parseFloat(box.style.width);
    reach(found.find(covers) || found[0]);
    $("waterfall").scrollIntoView({block: "nearest"});
  };
  line.onclick = go;
  line.onkeydown = event => { if (event.key === "Enter") go(); };
}

$("waterfall").hidden = data.lanes.length === 0;
$("steps").open = false;
zoomTo(1, 0, 0);
if (bars()[0]) bars()[0].tabIndex = 0;
if (!data.lanes.some(lane => lane.open)) $("fold").textContent = "unfold all";
root.dataset.ready = "yes";
})();
