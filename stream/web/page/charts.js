// ---- charts: figures over the last hour; unknown is hatched, never a line ----
const GAP = 3;  // a stretch of so many missing samples is one in which nothing was measured
let charts = 0;

function chartRange(at, keeps) {
  const now = Date.now() / 1000, last = at.length ? Math.max(at.at(-1), now - 30) : now;
  return [last - Math.min(keeps, Math.max(300, last - (at[0] ?? last))), last];
}

// The stretches of a line: of points that follow each other, and of times that are not known.
function stretches(at, values, from, to, interval) {
  const known = [], unknown = [];
  let run = [], end = from;
  const close = begin => { if (begin - end > GAP * interval) unknown.push([end, begin]); };
  for (let place = 0; place < at.length; place++) {
    if (at[place] < from || values[place] == null) continue;
    if (run.length && at[place] - run.at(-1)[0] > GAP * interval) { known.push(run); run = []; }
    if (!run.length) close(at[place]);
    run.push([at[place], values[place]]);
    end = at[place];
  }
  if (run.length) known.push(run);
  close(to);
  return { known, unknown };
}

class Chart {  // one picture of one to six lines that share an axis; `update` draws it again and keeps the focus
  constructor(title, format, { small = false, most = Infinity } = {}) {
    Object.assign(this, { title, format, small, most, cursor: null });
    this.hatch = `hatch-${++charts}`;
    this.svg = drawn("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.scale = make("span", { class: "scale number", "aria-hidden": "true" });
    this.plot = make("div", { class: "plot", tabindex: "0", role: "slider", "aria-label": `${title}, over time`, "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0" }, this.svg, this.scale);
    this.read = make("div", { class: "readout small number" });
    this.legend = make("ul", { class: "legend small" });
    this.element = small ? make("div", { class: "chart small-chart" }, this.plot, this.read)
      : make("figure", { class: "card chart" }, make("figcaption", {}, title), this.plot, make("div", { class: "ends small soft" }, this.begin = make("span"), this.end = make("span", {}, "now")), this.read, this.legend);
    this.plot.addEventListener("pointermove", event => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.choose(null));
    this.plot.addEventListener("blur", () => this.choose(null));
    this.plot.addEventListener("keydown", event => this.key(event));
  }

  update(at, lines, { goal = null, interval = 5, keeps = 3600 } = {}) {
    Object.assign(this, { at, lines: lines.slice(0, 6), goal });
    [this.from, this.to] = chartRange(at, keeps);
    const shown = this.lines.flatMap(line => line.values.filter((value, place) => value != null && at[place] >= this.from));
    const highest = Math.max(...shown, Number.EPSILON), top = Math.min(highest * 1.15, Math.max(highest, this.most));
    this.goalShown = goal != null && goal <= top * 4;
    this.top = this.goalShown ? Math.max(top, goal * 1.15) : top;
    this.svg.replaceChildren(this.pattern(), ...this.lines.flatMap((line, number) => this.drawLine(line, number, interval)));
    if (this.goalShown) this.svg.append(drawn("line", { class: "goal", x1: 0, x2: 100, y1: this.y(goal), y2: this.y(goal) }));
    this.svg.append(this.mark = drawn("line", { class: "mark", x1: -1, x2: -1, y1: 0, y2: 100 }));
    this.scale.textContent = shown.length && !this.small ? this.format(this.top) : "";
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, at.length - 1)));
    if (!this.small) this.tellLines(shown.length);
    this.choose(this.cursor);
  }

  x(time) { return (100 * (time - this.from) / Math.max(1, this.to - this.from)).toFixed(2); }
  y(value) { return (97 - 94 * value / this.top).toFixed(2); }

  pattern() {
    const pattern = drawn("pattern", { id: this.hatch, width: this.small ? 2.5 : 1.2, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "skewX(-20)" });
    pattern.append(drawn("rect", { class: "hatch", width: this.small ? 0.7 : 0.3, height: 6 }));
    const defs = drawn("defs", {});
    defs.append(pattern);
    return defs;
  }

  drawLine(line, number, interval) {
    const { known, unknown } = stretches(this.at, line.values, this.from, this.to, interval), parts = [];
    if (number === 0) for (const [begin, end] of unknown) parts.push(drawn("rect", { class: "unknown", fill: `url(#${this.hatch})`, x: this.x(begin), width: Math.max(0, this.x(end) - this.x(begin)).toFixed(2), y: 0, height: 100 }));
    const path = (points, kind) => drawn("path", { class: `curve ${kind}`, d: points.map(([time, value], place) => `${place ? "L" : "M"}${this.x(time)} ${this.y(value)}`).join("") + (points.length === 1 ? "h.01" : "") });
    for (const run of known) {
      parts.push(path(run, this.small ? "line-1" : `line-${number + 1}`));
      if (this.goal != null) for (const missed of overGoal(run, this.goal)) parts.push(path(missed, "over"));
    }
    return parts;
  }

  tellLines(any) {
    this.begin.textContent = `${spelled(this.to - this.from)} ago`;
    const goal = this.goal == null ? [] : [make("li", {}, make("i", { class: "key goal-key" }), this.goalShown ? `objective ≤ ${this.format(this.goal)}` : `objective ≤ ${this.format(this.goal)}, above the picture`)];
    this.legend.replaceChildren(...this.lines.map((line, number) => make("li", {}, make("i", { class: `key key-${number + 1}` }), `${line.label} `, make("b", { class: "number" }, this.format(line.values.at(-1))))), ...goal);
    this.element.classList.toggle("empty", !any);
  }

  choose(place) {
    this.cursor = place == null ? null : Math.max(0, Math.min(this.at.length - 1, place));
    const none = !this.lines.some(line => line.values.some(value => value != null));
    const here = this.cursor ?? this.at.length - 1, time = this.at[here];
    const told = none ? "not known in this time" : `${this.cursor == null ? "now" : `${ago(time)}`}: ${this.lines.map(line => `${this.lines.length > 1 ? `${line.label} ` : ""}${line.values[here] == null ? "not known" : this.format(line.values[here])}`).join(", ")}`;
    this.plot.setAttribute("aria-valuenow", String(Math.max(0, here)));
    this.plot.setAttribute("aria-valuetext", told);
    this.read.textContent = this.cursor == null ? (none ? "not known in this time" : "") : told;
    const x = this.cursor == null ? 0 : this.x(time);
    this.mark.setAttribute("visibility", this.cursor == null ? "hidden" : "visible");
    this.mark.setAttribute("x1", x); this.mark.setAttribute("x2", x);
  }

  point(event) {
    const box = this.plot.getBoundingClientRect(), time = this.from + (this.to - this.from) * (event.clientX - box.left) / box.width;
    let best = null;
    this.at?.forEach((each, place) => { if (best == null || Math.abs(each - time) < Math.abs(this.at[best] - time)) best = place; });
    if (best != null) this.choose(best);
  }

  key(event) {
    const last = (this.at?.length ?? 0) - 1, from = this.cursor ?? last;
    const places = { ArrowLeft: from - 1, ArrowRight: from + 1, ArrowDown: from - 1, ArrowUp: from + 1, PageDown: from - 12, PageUp: from + 12, Home: this.at?.findIndex(each => each >= this.from), End: last };
    if (!(event.key in places) || last < 0) return;
    event.preventDefault();
    this.choose(places[event.key]);
  }
}

function overGoal(run, goal) {
  const parts = [];
  let part = [];
  run.forEach((point, place) => {
    const over = point[1] > goal, next = run[place + 1];
    if (over || (next && next[1] > goal)) part.push(point);
    else if (part.length) { parts.push(part[0][1] > goal || part.length > 1 ? [...part, point] : part); part = []; }
  });
  if (part.length) parts.push(part);
  return parts.map(points => points.filter(([, value], place) => value > goal || points[place - 1]?.[1] > goal || points[place + 1]?.[1] > goal)).filter(points => points.length);
}
