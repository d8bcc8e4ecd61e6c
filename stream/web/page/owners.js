// ---- workers, partitions and who owns what; canaries ----
const short = url => url.replace(/^https?:\/\//, "");

function workerItem(worker) {
  const state = worker.ready === true ? badge("met", "● ready") : worker.ready === false ? badge("close", "▲ not ready") : badge("missed", "■ does not answer");
  return make("li", {}, make("div", { class: "line" }, make("b", {}, short(worker.url)), state, worker.here ? badge("", "this worker") : null),
    make("div", { class: "small soft" }, `${worker.partitions.length ? `partitions ${worker.partitions.join(", ")}` : "no partition"}${worker.reason && worker.ready !== true ? ` · ${worker.reason}` : ""}`));
}

function ownerRow(partition, workers) {
  const worker = workers.get(partition.url), lag = Object.entries(partition.lag);
  const owner = partition.url == null ? badge("", "○ nobody has announced itself") : make("span", {}, short(partition.url), " ", worker?.ready === true ? null : badge("missed", worker?.ready === false ? "not ready" : "does not answer"));
  return make("tr", {}, make("th", { scope: "row", class: "n" }, String(partition.partition)), make("td", {}, owner),
    make("td", { class: "small" }, partition.here.length ? partition.here.join(", ") : "–"),
    make("td", { class: "n small" }, lag.length ? lag.map(([topic, events]) => `${topic} ${count(events)}`).join(", ") : "not known"));
}

function canaryTable(canaries) {
  if (!canaries.length) return make("p", { class: "soft" }, "No canaries: an idle way cannot be told from one that is cut off (freshness.canary_s).");
  const numbers = [...new Set(canaries.flatMap(each => Object.keys(each.ages_s)))].sort((a, b) => a - b);
  const cell = (age, due) => make("td", { class: "n" }, age == null ? badge("", "○") : badge(age > due ? "missed" : "met", `${age > due ? "■" : "●"} ${spelled(age)}`));
  return make("table", { class: "small" }, make("caption", { class: "hidden" }, "Age of the last canary by stage and partition"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "stage"), make("th", { class: "n", scope: "col" }, "overdue after"), make("th", { class: "n", scope: "col" }, "not come yet"), ...numbers.map(number => make("th", { class: "n", scope: "col" }, number)))),
    make("tbody", {}, ...canaries.map(each => make("tr", {}, make("th", { scope: "row" }, each.stage.replaceAll("_", " ")), make("td", { class: "n" }, spelled(each.overdue_after_s)), make("td", { class: "n" }, each.missing ? badge("close", count(each.missing)) : "0"), ...numbers.map(number => cell(each.ages_s[number], each.overdue_after_s))))));
}

async function lookAtOwners() {
  let said;
  try { said = await ask("console/owners"); } catch (error) {
    by("owners").classList.add("unknown-now");
    by("owners-said").hidden = false;
    if (!by("canaries").childElementCount) by("canaries").replaceChildren(make("p", { class: "soft" }, "Not known now."));
    by("owners-said").textContent = `Not known now${by("workers").childElementCount ? ", below is what was" : ""}: ${error.message}`;
    return;
  }
  by("owners").classList.remove("unknown-now");
  by("owners-said").hidden = true;
  const workers = new Map(said.workers.map(worker => [worker.url, worker]));
  by("workers").replaceChildren(...said.workers.map(workerItem));
  by("partitions").replaceChildren(make("table", {}, make("caption", { class: "hidden" }, "Partitions and their owners"),
    make("thead", {}, make("tr", {}, make("th", { class: "n", scope: "col" }, "no."), make("th", { scope: "col" }, "owner"), make("th", { scope: "col" }, "at work here"), make("th", { class: "n", scope: "col" }, "behind"))),
    make("tbody", {}, ...said.partitions.map(partition => ownerRow(partition, workers)))));
  by("canaries").replaceChildren(canaryTable(said.canaries));
}
