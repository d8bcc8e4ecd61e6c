// ---- the map of topics: the prefix tree as areas, as large as their items are many; choose one to go into it ----
let prefixShown = [], prefixAsked = 0;

// Squarified: rows of areas, each as near to a square as the rest allows. → [item, left, top, width, height] in percent.
function areas(items, left = 0, top = 0, width = 100, height = 62) {
  const whole = items.reduce((sum, item) => sum + item.size, 0), placed = [];
  let rest = items.filter(item => item.size > 0).map(item => ({ ...item, area: item.size * width * height / whole }));
  const worst = (row, side) => { const sum = row.reduce((all, item) => all + item.area, 0); return Math.max(...row.map(item => Math.max(side * side * item.area / (sum * sum), sum * sum / (side * side * item.area)))); };
  while (rest.length) {
    const side = Math.min(width, height);
    let taken = 1;
    while (taken < rest.length && worst(rest.slice(0, taken + 1), side) <= worst(rest.slice(0, taken), side)) taken++;
    const row = rest.slice(0, taken), deep = row.reduce((sum, item) => sum + item.area, 0) / side;
    let along = 0;
    for (const item of row) {
      const long = item.area / deep;
      placed.push(width >= height ? [item, left, top + along, deep, long] : [item, left + along, top, long, deep]);
      along += long;
    }
    if (width >= height) { left += deep; width -= deep; } else { top += deep; height -= deep; }
    rest = rest.slice(taken);
  }
  return placed;
}

function topicArea([topic, left, top, width, height], number, said) {
  const style = `left:${left}%;top:${top / 0.62}%;width:${width}%;height:${height / 0.62}%`;
  if (topic.others) return make("div", { class: "area others", style, title: topic.others }, make("span", { class: "small" }, topic.others));
  const words = topic.words.join(", "), titles = topic.titles.join(" · ");
  const button = make("button", { class: `area shade-${number % 6}`, style, type: "button", title: `${words ? `${words}\n` : ""}${topic.titles.join("\n")}`, "aria-label": `${[...said.prefix, topic.code].join(".")}: ${count(topic.items)} items${words ? `, ${words}` : ""}${titles ? `; for example ${titles}` : ""}` },
    make("b", {}, words || topic.titles[0] || String(topic.code)), make("span", { class: "number" }, `${[...said.prefix, topic.code].join(".")} · ${count(topic.items)}`), ...topic.titles.map(title => make("span", { class: "example" }, title)));
  button.addEventListener("click", () => lookAtTopics([...said.prefix, topic.code], true));
  return button;
}

function showTopics(said) {
  const crumbs = [[], ...said.prefix.map((_, place) => said.prefix.slice(0, place + 1))];
  by("crumbs").replaceChildren(...crumbs.map(prefix => {
    const here = prefix.length === said.prefix.length, crumb = make("button", { type: "button", class: "tell", "aria-current": here ? "true" : null }, prefix.length ? prefix.join(".") : "all topics");
    crumb.addEventListener("click", () => lookAtTopics(prefix, true));
    return make("li", {}, crumb);
  }));
  by("topic-about").textContent = `${count(said.items)} live items${said.words.length ? `: ${said.words.join(", ")}` : ""} · codebook ${said.codebook}`;
  const rest = said.others.topics ? [{ size: said.others.items, others: `${count(said.others.topics)} smaller topics, ${count(said.others.items)} items` }] : [];
  by("map").hidden = !said.topics.length;
  by("map").replaceChildren(...areas([...said.topics.map(topic => ({ ...topic, size: topic.items })), ...rest]).map((placed, number) => topicArea(placed, number, said)));
  const empty = said.items ? [] : [make("li", { class: "soft" }, "Nothing is live yet: publish uploads, and their topics are here.")];
  by("members").replaceChildren(...empty, ...said.members.map(item => make("li", {}, item.title || item.item_id, " ", make("code", { class: "soft" }, item.item_id))));
}

async function lookAtTopics(prefix, move = false) {
  const mine = ++prefixAsked;
  try {
    const said = await ask(`console/topics?prefix=${prefix.join(".")}`);
    if (mine !== prefixAsked) return;
    const held = document.activeElement?.closest?.("#map") && document.activeElement.getAttribute("aria-label")?.split(":")[0];
    prefixShown = prefix;
    showTopics(said);
    by("topics-said").hidden = true;
    by("topics").classList.remove("unknown-now");
    if (move) (by("map").querySelector("button") ?? by("crumbs").lastElementChild.firstElementChild).focus({ preventScroll: true });
    else if (held) [...by("map").children].find(area => area.getAttribute("aria-label")?.startsWith(`${held}:`))?.focus({ preventScroll: true });
  } catch (error) {
    if (mine !== prefixAsked) return;
    by("topics").classList.add("unknown-now");
    by("topics-said").hidden = false;
    by("topics-said").textContent = `Not known now${by("map").childElementCount ? ", below is what was" : ""}: ${error.message}`;
    if (error.status === 404 && prefix.length) lookAtTopics(prefix.slice(0, -1));
  }
}
by("topics").addEventListener("keydown", event => {
  if ((event.key === "Escape" || event.key === "Backspace") && prefixShown.length) { event.preventDefault(); lookAtTopics(prefixShown.slice(0, -1), true); }
});
