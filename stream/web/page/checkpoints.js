// ---- checkpoints: the family tree, what each gate saw, and the two levers; training in progress ----
const STEPS = ["queued", "started", "trained", "gated", "published"];
const opened = new Map();  // checkpoint → its details, null while they are asked for
let family = null, familyText = "";

function gateBadge(verdict) {
  const kinds = { passed: "met", promoted: "close", refused: "missed" }, marks = { passed: "●", promoted: "▲", refused: "■" };
  return badge(kinds[verdict] ?? "", `${marks[verdict] ?? "○"} ${verdict === "pending" || !verdict ? "not judged" : verdict}`);
}

// Lanes as in a log of commits, newest first: each checkpoint goes down to its parent's row.
function laned(newest) {
  const lanes = [];
  return newest.map(each => {
    let lane = lanes.indexOf(each.checkpoint);
    if (lane < 0) lane = lanes.includes(null) ? lanes.indexOf(null) : lanes.length;
    const before = [...lanes];
    lanes.forEach((wanted, place) => { if (wanted === each.checkpoint) lanes[place] = null; });
    lanes[lane] = newest.some(other => other.checkpoint === each.parent) ? each.parent : null;
    return { each, lane, before, after: [...lanes] };
  });
}

function lanePicture({ each, lane, before, after }, serving) {  // down to the dot its lanes may bend; below it they are straight, as long as the row is high
  const wide = 8, x = place => 10 + 14 * Math.min(place, wide), width = 20 + 14 * (Math.min(wide + 1, Math.max(before.length, after.length, lane + 1)) - 1);
  const upper = drawn("svg", { class: "lanes", width, height: 15, viewBox: `0 0 ${width} 15`, "aria-hidden": "true" });
  const lower = drawn("svg", { class: "lanes lower", width, viewBox: `0 0 ${width} 10`, preserveAspectRatio: "none", "aria-hidden": "true" });
  before.forEach((wanted, place) => wanted != null && upper.append(drawn("path", { class: "lane", d: `M${x(place)} 0L${x(wanted === each.checkpoint ? lane : place)} 15` })));
  after.forEach((wanted, place) => wanted != null && lower.append(drawn("path", { class: "lane", d: `M${x(place)} 0V10` })));
  return make("div", { class: "lane-cell", style: `width:${width}px` }, upper, lower, make("i", { class: each.checkpoint === serving ? "dot serving" : "dot", style: `left:${x(lane) - 6}px` }));
}

const actText = act => `${act.action === "promote" ? "promoted" : "returned to"} ${ago(act.at)} by ${act.by === "person" ? "a person" : `a worker: ${act.reason}`}`;

function checkpointRow(laid, said) {
  const { each } = laid, serving = each.checkpoint === said.serving, acts = said.acts.filter(act => act.checkpoint === each.checkpoint);
  const parentKnown = said.checkpoints.some(other => other.checkpoint === each.parent);
  const from = !each.parent ? "the first of its line" : `from ${each.parent}${parentKnown ? "" : " (not known here any more)"}`;
  const open = opened.has(each.checkpoint), details = make("div", { class: "details", id: `details-${each.checkpoint}` });
  const button = make("button", { class: "title mono", type: "button", "aria-expanded": String(open), "aria-controls": details.id }, each.checkpoint);
  button.addEventListener("click", () => openCheckpoint(each.checkpoint));
  if (open) showDetails(each, details, said);
  return make("li", { "data-id": each.checkpoint, class: serving ? "serving" : null }, lanePicture(laid, said.serving),
    make("div", { class: "about" },
      make("div", { class: "line" }, button, serving ? badge("serving", "serving") : null, gateBadge(each.gate), each.verdict !== each.gate ? gateBadge(each.verdict) : null),
      make("div", { class: "small soft" }, [ago(each.published_at), from, each.codebook && `codebook ${each.codebook}`].filter(Boolean).join(" · ")),
      ...acts.slice(-3).map(act => make("div", { class: "small act" }, actText(act))),
      each.reasons.length ? make("div", { class: "small clamp" }, each.reasons.join("; ")) : null, details));
}

async function openCheckpoint(id) {
  if (opened.has(id)) opened.delete(id);
  else {
    opened.set(id, null);
    ask(`console/checkpoints/${encodeURIComponent(id)}`).then(said => opened.set(id, said), error => opened.set(id, { fault: error.message })).then(() => opened.has(id) && showFamily());
  }
  showFamily();
}

const figure = value => value == null ? "–" : Math.abs(value) >= 1000 ? count(value) : value.toPrecision(3);
function gateTables(metrics) {
  const slices = new Set(), roles = new Set(), gains = [];
  for (const name of Object.keys(metrics)) {
    const scored = name.match(/^(candidate|serving|popular|none)\.([^.]+)\.(hr|ndcg)@10$/), gain = name.match(/^gain\.([^.]+)\.([^.]+)\.nats$/);
    if (scored) { roles.add(scored[1]); slices.add(scored[2]); }
    if (gain) gains.push([gain[1], gain[2]]);
  }
  const cell = value => make("td", { class: "n" }, figure(value)), head = text => make("th", { class: "n", scope: "col" }, text);
  const tables = [];
  if (slices.size) tables.push(make("table", { class: "small" }, make("caption", {}, "Scores on held-out engagements: hits@10 · NDCG@10"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "slice"), ...[...roles].map(head))),
    make("tbody", {}, ...[...slices].map(slice => make("tr", {}, make("th", { scope: "row" }, slice), ...[...roles].map(role => make("td", { class: "n" }, `${figure(metrics[`${role}.${slice}.hr@10`])} · ${figure(metrics[`${role}.${slice}.ndcg@10`])}`)))))));
  if (gains.length) tables.push(make("table", { class: "small" }, make("caption", {}, "What the system gains with it, nats an engagement (95 %)"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "over · slice"), head("mean"), head("low"), head("high"), head("events"))),
    make("tbody", {}, ...gains.map(([role, slice]) => { const key = `gain.${role}.${slice}`; return make("tr", {}, make("th", { scope: "row" }, `${role} · ${slice}`), cell(metrics[`${key}.nats`]), cell(metrics[`${key}.nats.low`]), cell(metrics[`${key}.nats.high`]), cell(metrics[`${key}.events`])); }))));
  return tables.length ? tables : [make("p", { class: "soft small" }, "Its manifest has no figures of a gate.")];
}

function showDetails(each, into, said) {
  const about = opened.get(each.checkpoint), facts = make("dl", { class: "small" });
  const add = (name, value) => value && facts.append(make("dt", {}, name), make("dd", {}, value));
  const reasons = each.reasons.length ? [make("ul", { class: "reasons small" }, ...each.reasons.map(reason => make("li", {}, reason)))] : [];
  if (about == null) { into.append(make("p", { class: "soft small" }, "Reading its manifest …")); return; }
  if (about.fault) { into.append(make("p", { class: "said bad" }, `Its manifest cannot be read: ${about.fault}`), ...reasons); return; }
  add("the gate", gateBadge(each.gate));
  add("knows events until", about.data_until ? `${new Date(about.data_until * 1000).toLocaleString()} (${ago(about.data_until)})` : "not known");
  add("lineage", about.lineage);
  add("taught by", about.teacher);
  add("an answer takes", about.metrics["candidate.answer_ms"] == null ? null : `${figure(about.metrics["candidate.answer_ms"])} ms`);
  add("code", about.code_version);
  into.append(...reasons, make("div", { class: "tables", tabindex: "0", role: "region", "aria-label": "What the gate saw" }, ...gateTables(about.metrics)), facts, levers(each, said));
}

function levers(each, said) {
  if (each.checkpoint === said.serving) return make("p", { class: "small soft" }, "It serves: to leave it, return to another one.");
  const known = ["passed", "promoted"].includes(each.verdict);
  const button = (lever, text) => { const made = make("button", { type: "button" }, text); made.addEventListener("click", () => askAgain(lever, each, said)); return made; };
  return make("div", { class: "acts" }, known ? button("rollback", "Return to it …") : null, button("promote", "Promote …"));
}

function askAgain(lever, each, said) {
  const dialog = by("second"), what = lever === "promote" ? `Serve ${each.checkpoint}?` : `Return to ${each.checkpoint}?`;
  const warned = each.gate === "refused" ? `The gate refused it: ${each.reasons.join("; ") || "no reason is known"}.` : each.gate === "pending" ? "No gate has judged it." : "The gate passed it.";
  confirmAct({ title: what, text: `Every worker will serve it instead of ${said.serving ?? "no model"}. ${warned}`, word: each.checkpoint, verb: lever === "promote" ? "Promote" : "Return", async act(token) {
    await ask("console/checkpoints", { action: lever, checkpoint: each.checkpoint, serving: said.serving }, token);
    tellLineage(`Published; waiting for this worker to serve ${each.checkpoint} …`);
    dialog.close();
    for (const began = Date.now(); Date.now() - began < 30000;) {
      await new Promise(done => setTimeout(done, 500));
      await lookAtCheckpoints();
      if (family?.serving === each.checkpoint) return tellLineage(`${each.checkpoint} serves, ${spelled((Date.now() - began) / 1000)} after it was asked for.`, "good");
    }
    tellLineage(`Published, but this worker does not serve ${each.checkpoint} after 30 s${family?.note ? `: ${family.note}` : ": look at its log"}`, "bad");
  } });
}
function tellLineage(text, kind = "") { by("lineage-said").className = `said ${kind}`; by("lineage-said").textContent = text; by("lineage-said").hidden = !text; }

function runItem(run) {
  const last = run.steps.at(-1), done = new Map(run.steps.map(step => [step.state, step.at]));
  const end = last && ["refused", "failed"].includes(last.state) ? last.state : null;
  const shown = end ? [...STEPS.slice(0, -1), end] : STEPS, open = !last?.ended, since = last?.at ?? run.asked_at;
  const first = run.asked_at ?? run.steps[0]?.at;
  return make("li", { class: open ? "open-run" : null },
    make("div", { class: "line" }, make("code", {}, run.run), open ? badge("close", last ? `in progress: ${last.state}` : "asked for, not taken up") : badge(end ? "missed" : "met", `${end ? "■" : "●"} ${last.state}`), last?.checkpoint ? make("code", {}, last.checkpoint) : null),
    make("ol", { class: "steps small", "aria-label": "Stages" }, ...shown.map(state => make("li", { class: done.has(state) ? state === end ? "failed" : "done" : null, "aria-label": `${state}: ${done.has(state) ? ago(done.get(state)) : "not reached"}` }, state, done.has(state) && first ? make("span", { class: "number" }, ` +${spelled(Math.max(0, done.get(state) - first))}`) : null))),
    make("div", { class: "small soft" }, [open ? `last word ${ago(since)}${Date.now() / 1000 - since > 900 ? ": see whether a trainer is at work" : ""}` : ago(since), last?.detail].filter(Boolean).join(" · ")));
}

function showFamily() {
  const said = family, held = document.activeElement?.closest?.("#lineage li")?.dataset.id;
  const newest = [...said.checkpoints].sort((a, b) => b.published_at - a.published_at).slice(0, 60);
  by("lineage").replaceChildren(...(newest.length ? laned(newest).map(laid => checkpointRow(laid, said)) : [make("li", { class: "none soft" }, "No model yet: answers come from popular, fresh and similar items until the first one is trained.")]));
  if (held) [...by("lineage").children].find(row => row.dataset.id === held)?.querySelector(".title").focus({ preventScroll: true });
  const lasting = said.acts.filter(act => !newest.some(each => each.checkpoint === act.checkpoint)).slice(-3);
  by("lost-acts").replaceChildren(...lasting.map(act => make("li", {}, `${act.checkpoint || "no model"}: ${actText(act)}`)));
  const runs = [...said.runs].reverse().slice(0, 8);
  by("runs").replaceChildren(...(runs.length ? runs.map(runItem) : [make("li", { class: "soft" }, "No training run has been announced yet.")]));
}

async function lookAtCheckpoints() {
  let said;
  try { said = await ask("console/lineage"); } catch (error) {
    by("h-check").closest("section").classList.add("unknown-now");
    by("lineage-fault").hidden = false;
    by("lineage-fault").textContent = `Not known now${family ? ", below is what was" : ""}: ${error.message}`;
    familyText = "";
    return;
  }
  family = said;
  by("h-check").closest("section").classList.remove("unknown-now");
  by("lineage-fault").hidden = true;
  const text = JSON.stringify(family);
  if (text === familyText && Date.now() % 60000 > 6000) return;
  familyText = text;
  showFamily();
}
