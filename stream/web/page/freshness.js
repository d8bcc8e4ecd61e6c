// ---- freshness ----
const stageCards = new Map();  // stage → its card and chart, which stay: the focus does, too
let shownAt = Date.now();

function canarySays(canary) {
  if (canary.age_s != null && canary.age_s > canary.overdue_after_s) return `no canary for ${spelled(canary.age_s)}`;
  return canary.missing ? `no canary yet from ${count(canary.missing)} partitions` : `p99 of ${count(canary.came)} canaries`;
}

function canaryFault(canary) {  // why a stage can be missed, or not known, whose events came in time
  if (!canary || ["met", "close"].includes(canary.verdict)) return "";
  return canary.p99_s != null && !canary.missing && canary.age_s <= canary.overdue_after_s ? `; its canaries: p99 ${spelled(canary.p99_s)}` : `; ${canarySays(canary)}`;
}

function stageSays(stage) {
  if (stage.kind !== "passage") return stage.value_s == null ? "not known yet" : "age";
  if (stage.events) return `p99 · p50 ${spelled(stage.p50_s)} · ${count(stage.events)} events in ${spelled(stage.window_s)}${canaryFault(stage.canary)}`;
  return `no events in ${spelled(stage.window_s)}${stage.canary ? `; ${canarySays(stage.canary)}` : ""}`;
}

function showStage(stage) {
  if (!stageCards.has(stage.stage)) {
    const chart = new Chart(stage.title, seconds, { small: true }), told = make("div", { class: "told" });
    const card = make("article", {}, told, chart.element);
    stageCards.set(stage.stage, { card, told, chart });
    by("stages").append(card);
  }
  const { card, told } = stageCards.get(stage.stage), [number, unit] = duration(stage.value_s);
  card.className = `card stage ${stage.verdict}`;
  told.replaceChildren(make("h3", {}, stage.title),
    make("div", { class: "big number" }, number, unit ? make("small", {}, unit) : null),
    make("div", { class: "small soft number" }, stageSays(stage)),
    make("div", { class: "line", style: "margin-top:auto;padding-top:6px" }, badge(stage.verdict, VERDICTS[stage.verdict]), make("span", { class: "small soft" }, `≤ ${spelled(stage.objective_s)}`)));
}

function showOverall(status) {
  const judged = [...status.stages, ...Object.values(status.lag)];
  const missed = judged.filter(each => each.verdict === "missed").length;
  const unknown = judged.filter(each => each.verdict === "unknown").length;
  const texts = { met: "● every objective met", close: "▲ close to an objective", missed: `■ ${missed} of ${judged.length} objectives missed`, unknown: unknown === judged.length ? "○ no data yet" : `○ no data on ${unknown} of ${judged.length} objectives` };
  by("overall").className = `badge ${status.ready ? status.verdict : "missed"}`;
  by("overall").textContent = status.ready ? texts[status.verdict] : `■ not ready: ${status.reason}`;
}

function showFlow(status) {
  const topics = [...new Set([...Object.keys(status.lag), ...Object.keys(status.events_per_s)])].sort();
  const body = topics.map(topic => {
    const lag = status.lag[topic];
    return make("tr", {}, make("td", {}, topic), make("td", { class: "n" }, count(status.events_per_s[topic] ?? 0)),
      make("td", { class: "n" }, lag ? count(lag.events) : "–"), make("td", {}, lag ? badge(lag.verdict, VERDICTS[lag.verdict]) : ""));
  });
  const table = make("table", {}, make("caption", { class: "hidden" }, "Events a second and lag by topic"),
    make("thead", {}, make("tr", {}, make("th", {}, "topic"), make("th", { class: "n" }, "events/s"), make("th", { class: "n" }, "behind"), make("th", {}, ""))), make("tbody", {}, ...body));
  const hits = Object.entries(status.live_hit_ratio ?? {}).map(([name, ratio]) => [make("dt", {}, name.replace("@", " @ ")), make("dd", { class: "number" }, share(ratio))]).flat();
  by("flow").replaceChildren(topics.length ? table : make("p", { class: "soft" }, "Nothing has come in yet."),
    ...(hits.length ? [make("h3", { class: "small", style: "margin:12px 0 4px" }, "Found before learned (live hit ratio)"), make("dl", { class: "small" }, ...hits)] : []));
}

function showCodebook(status) {
  const health = status.codebook_health, widest = Math.max(...health.perplexity, 1);
  const levels = health.perplexity.map((value, level) => make("div", {}, make("span", {}, `level ${level}`), make("span", { class: "bar" }, make("i", { style: `width:${100 * value / widest}%` })), make("span", { class: "number" }, count(value))));
  by("codebook").replaceChildren(
    make("dl", {}, make("dt", {}, "version"), make("dd", {}, make("code", {}, status.codebook ?? "none")),
      make("dt", {}, "equal codes"), make("dd", { class: "number" }, health.collision_ratio == null ? "–" : `${share(health.collision_ratio)} of live items`),
      make("dt", {}, "quantisation error"), make("dd", { class: "number" }, health.quantization_error == null ? "–" : health.quantization_error.toPrecision(3))),
    make("div", { class: "levels" }, levels.length ? make("span", { class: "soft" }, "Codes in effective use (perplexity)") : "", ...levels));
}

function showStatus(status) {
  showOverall(status); showFlow(status); showCodebook(status);
  status.stages.forEach(showStage);
  by("live").textContent = count(status.live_items);
  by("rate").textContent = count(Object.values(status.events_per_s).reduce((sum, each) => sum + each, 0));
  by("asof").textContent = `as of ${new Date(status.now * 1000).toLocaleTimeString()}`;
  by("asof").title = status.url ? `what the worker at ${status.url} sees` : "what this worker sees";
  by("note").textContent = status.note ?? "";
}
