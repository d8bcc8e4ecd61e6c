// ---- playground ----
const items = new Map();  // item id → what is known of it
let order = [], asking = 0;

async function known(id) {
  if (!items.has(id)) items.set(id, ask(`v1/items/${encodeURIComponent(id)}`).catch(() => { items.delete(id); return {}; }));
  return items.get(id);
}
function question() {
  const task = by("task").value, words = by("query").value.trim();
  const asked = { user_id: by("user").value.trim(), task, k: 12 };
  if (words) asked[task === "similar" ? "item_id" : "query"] = words;
  return asked;
}
function say(text, kind = "") { by("said").className = `said ${kind}`; by("said").textContent = text; }

async function recommend({ quiet = false } = {}) {
  const asked = question(), mine = ++asking;
  if (!asked.user_id) return null;
  if (asked.task === "similar" && !asked.item_id) { say("Name the item that the others should be like."); return null; }
  if (asked.task === "search" && !asked.query) { say("Say what to search for."); return null; }
  try {
    const answer = await ask("v1/recommend", asked);
    await Promise.all(answer.items.map(item => known(item.item_id)));
    if (mine !== asking) return null;
    return answer;
  } catch (error) {
    if (!quiet) say(error.message, "bad");
    return null;
  }
}

async function row(item, at, before, [least, most]) {  // scores may be logits: only their order and distance mean something
  const title = (await known(item.item_id)).title || item.item_id;
  const was = before.indexOf(item.item_id), compared = before.length > 0;
  const moved = !compared || was === at ? null : was < 0 ? badge("new", "new") : was > at ? badge("up", `▲ ${was - at}`) : badge("", `▼ ${at - was}`);
  const button = make("button", { class: "title", type: "button", title: `${title}\nPublish a ${by("kind").value} of this item` }, title);
  button.addEventListener("click", () => engage(item.item_id, title));
  const more = make("div", { class: "more", hidden: "" }), code = item.semantic_id.join("·");
  const tell = make("button", { class: "tell mono", type: "button", "aria-expanded": "false", "aria-label": `semantic ID ${code}: trace of this item` }, `${code} ▸`);
  tell.addEventListener("click", () => {
    more.hidden = !more.hidden;
    tell.setAttribute("aria-expanded", String(!more.hidden));
    tell.textContent = `${code} ${more.hidden ? "▸" : "▾"}`;
    if (!more.hidden && !more.childElementCount) trace(item, more);
  });
  const element = make("li", { class: !compared || was === at ? null : was < 0 ? "moved-new" : was > at ? "moved-up" : "moved-down" },
    make("span", { class: "rank number" }, String(at + 1)),
    make("div", {}, make("div", { class: "line" }, button, moved),
      make("div", { class: "meta" }, badge("", item.source.replaceAll("_", " ")), make("span", {}, item.reason), tell)),
    make("div", { class: "score number" }, item.score.toFixed(3), make("div", { class: "bar", "aria-hidden": "true" }, make("i", { style: `width:${most > least ? 8 + 92 * (item.score - least) / (most - least) : 100}%` }))),
    more);
  element.dataset.id = item.item_id;
  return element;
}

async function trace(item, into) {
  const about = await known(item.item_id), list = make("dl", {});
  const add = (name, value) => value && list.append(make("dt", {}, name), make("dd", {}, value));
  add("item", item.item_id);
  add("semantic ID", `${item.semantic_id.join("·")} (${about.codebook ?? "?"})`);
  add("its prefix says", (about.prefix_words ?? []).map(word => Array.isArray(word) ? word.join(" ") : word).join(", "));
  add("engagements", Object.entries(about.counters ?? {}).map(([kind, n]) => `${n} ${kind}`).join(", "));
  try {
    const stages = (await ask(`v1/trace/${encodeURIComponent(item.item_id)}`)).stages;
    const first = stages.find(stage => stage.at != null)?.at;
    for (const stage of stages) add(stage.stage.replaceAll("_", " "), stage.at == null ? "not yet" : `${new Date(stage.at * 1000).toLocaleString()}${stage.at > first ? `  (+${spelled(stage.at - first)})` : ""}`);
  } catch { add("trace", "none kept"); }
  into.append(list);
}

async function show(answer, before = []) {
  const places = new Map([...by("rows").children].map(element => [element.dataset.id, element.getBoundingClientRect().top]));
  const scores = answer.items.map(item => item.score), range = [Math.min(...scores), Math.max(...scores)];
  const rows = await Promise.all(answer.items.map((item, at) => row(item, at, before, range)));
  by("rows").replaceChildren(...rows);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches && before.length) for (const element of rows) {
    const from = places.get(element.dataset.id), to = element.getBoundingClientRect().top;
    if (from !== undefined && from !== to) element.animate([{ transform: `translateY(${from - to}px)` }, { transform: "none" }], { duration: 450, easing: "cubic-bezier(.2,.8,.2,1)" });
    else if (from === undefined) element.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 450 });
  }
  order = answer.items.map(item => item.item_id);
  by("made").textContent = `checkpoint ${answer.checkpoint || "none"} · codebook ${answer.codebook || "none"} · ${answer.took_ms.toFixed(1)} ms${answer.degraded ? " · degraded: the user's state was out of reach" : ""}${answer.notes.map(note => ` · ${note.text}`).join("")}`;
}

let looks = 0;
async function showPast() {
  const user = by("user").value.trim(), look = ++looks;
  let history = [];
  try { history = (await ask(`v1/users/${encodeURIComponent(user)}`)).history ?? []; } catch { /* never seen before */ }
  const latest = history.slice(-6).reverse();
  const titles = await Promise.all(latest.map(async each => (await known(each.item_id)).title || each.item_id));
  if (look !== looks) return;  // a later look has begun: what this one found is older
  by("past").replaceChildren(...(latest.length ? [make("li", { class: "plain soft" }, "Latest:")] : [make("li", { class: "plain soft" }, user ? "Nothing is known of this user yet." : "")]),
    ...latest.map((each, at) => make("li", { title: titles[at] }, `${each.kind ?? "engaged"}: ${titles[at]}`)));
}

async function refresh() {
  order = [];
  const answer = await recommend();
  if (!answer) return;
  await show(answer);
  if (!answer.items.length) say(answer.notes.some(note => note.items) ? answer.notes.map(note => note.text).join(" · ") : "No items yet: publish uploads, and they are here a moment later.");
  else say("Choose an item: the engagement is published to the log, and the order follows.");
  showPast();
}

const PATIENCE_MS = 6000;
async function inHistory(user, event) {  // only then is a changed order the click's doing, not the stream's
  try { return ((await ask(`v1/users/${encodeURIComponent(user)}`)).history ?? []).some(each => each.event_id === event); } catch { return false; }
}
async function engage(id, title) {
  const { user_id, task, query } = question(), kind = by("kind").value, before = order;
  const focused = [...by("rows").children].findIndex(element => element.contains(document.activeElement));
  say(`Publishing a ${kind} of “${title}” …`);
  const began = performance.now(), passed = () => (performance.now() - began) / 1000;
  let event, absorbed = null;
  try { event = (await ask("console/engage", { user_id, item_id: id, kind, task, query })).event_id; } catch (error) { say(error.message, "bad"); return; }
  say(`Published a ${kind} of “${title}” in ${spelled(passed())}; waiting for the order to follow …`);
  while (passed() * 1000 < PATIENCE_MS) {
    if (absorbed === null && await inHistory(user_id, event)) absorbed = passed();
    const answer = absorbed === null ? undefined : await recommend({ quiet: true });
    if (answer === null) return;
    if (answer && answer.items.map(item => item.item_id).join("\n") !== before.join("\n")) {
      const took = passed(), now = answer.items.map(item => item.item_id);
      const fresh = now.filter(each => !before.includes(each)).length, up = now.filter((each, at) => before.indexOf(each) > at).length;
      await show(answer, before);
      await showPast();
      if (focused >= 0) by("rows").children[Math.min(focused, now.length - 1)]?.querySelector(".title").focus({ preventScroll: true });
      say(`The order changed ${spelled(took)} after your ${kind} of “${title}” (in your history after ${spelled(absorbed)}): ${fresh} new, ${up} moved up${now.includes(id) ? "" : "; the item itself, now seen, left the list"}.`, "good");
      return;
    }
    await new Promise(done => setTimeout(done, 40));
  }
  showPast();
  if (absorbed === null) say(`Published, but not in the user's history after ${spelled(PATIENCE_MS / 1000)}: look at the lag of engagements.`, "bad");
  else say(`In the user's history after ${spelled(absorbed)}, but the order is the same ${spelled(PATIENCE_MS / 1000)} later: it did not change what suits this user best.`);
}

function labelWords() {
  const names = { similar: "Item id", search: "Query" };
  by("words-name").textContent = names[by("task").value] ?? "Query (optional)";
}
async function suggest() {
  const text = by("query").value.trim();
  if (by("task").value !== "similar" || !text) { by("found").replaceChildren(); return; }
  const found = (await ask(`console/items?text=${encodeURIComponent(text)}`)).items;
  by("found").replaceChildren(...found.map(item => make("option", { value: item.item_id }, item.title || item.item_id)));
}
let typing = 0;
const soon = action => { clearTimeout(typing); typing = setTimeout(action, 250); };

by("ask").addEventListener("submit", event => { event.preventDefault(); refresh(); });
by("user").addEventListener("input", () => soon(refresh));
by("query").addEventListener("input", () => soon(() => { suggest().catch(() => {}); refresh(); }));
by("task").addEventListener("change", () => { labelWords(); refresh(); });

async function offerUsers() {
  let users = [];
  try { users = (await ask("console/users")).users; } catch { /* asked again with the next look */ }
  by("users").replaceChildren(...users.map(user => make("option", { value: user })));
  if (!by("user").value && users.length) { by("user").value = users[0]; refresh(); }
}
